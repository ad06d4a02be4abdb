"""Exits are published once: what the journal of a task has already is refused."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from pycontainerd.api.convert import moment
from pycontainerd.api.events import task_pb2
from pycontainerd.contracts.events import TOPICS, Envelope, TaskExit
from pycontainerd.contracts.types import AnyValue

from .journal import ExitKey
from .table import Table

_TOPIC = TOPICS[TaskExit]


def admits(table: Table, envelope: Envelope) -> bool:
    """Whether to publish; an exit that is new is recorded in the same breath."""
    if envelope.topic != _TOPIC:
        return True
    found = _exit(envelope.event)
    if found is None:
        return True
    container, exec_id, key, status = found
    task = table.get(envelope.namespace, container)
    if task is None or task.journal is None:
        return True
    return task.journal.exit(ExitKey("" if exec_id == container else exec_id, key.pid, key.at), status)


def _exit(event: object) -> tuple[str, str, ExitKey, int] | None:
    if isinstance(event, TaskExit):
        return event.container_id, event.id, ExitKey.of(event.id, event.pid, event.exited_at), event.exit_status
    if not isinstance(event, AnyValue):
        return None
    try:
        message = task_pb2.TaskExit.FromString(event.value)
        key = ExitKey.of(message.id, message.pid, moment(message.exited_at))
    except (DecodeError, ValueError, OverflowError):
        return None
    return message.container_id, message.id, key, message.exit_status
