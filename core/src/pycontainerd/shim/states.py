"""What may be done to a process in which state. Pure: no I/O.

    created -> running <-> paused          any of them -> stopped -> deleted

A created process may be deleted without having been started, and can end before that too.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, NotFound
from pycontainerd.contracts.runtime import Status


class State(enum.Enum):
    """Of a process. `DELETED` is seen only by a caller that was waiting while another deleted it."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    DELETED = "deleted"


STATUS: Mapping[State, Status] = {
    State.CREATED: Status.CREATED,
    State.RUNNING: Status.RUNNING,
    State.PAUSED: Status.PAUSED,
    State.STOPPED: Status.STOPPED,
    State.DELETED: Status.STOPPED,
}

_ALLOWED: Mapping[str, tuple[State, ...]] = {
    "start": (State.CREATED,),
    "pause": (State.RUNNING,),
    "resume": (State.PAUSED,),
    "exec in": (State.CREATED, State.RUNNING),
    "kill": (State.CREATED, State.RUNNING, State.PAUSED),
    "update": (State.CREATED, State.RUNNING, State.PAUSED),
    "resize": (State.CREATED, State.RUNNING, State.PAUSED, State.STOPPED),
    "delete": (State.CREATED, State.STOPPED),
}


def check(verb: str, state: State, what: str) -> None:
    """Refuse ``verb`` where ``state`` does not allow it; ``what`` names the process.

    :raises NotFound: it is deleted, or a signal comes after its end.
    :raises FailedPrecondition: it is in another wrong state.
    """
    if state in _ALLOWED[verb]:
        return
    kind: type[ContainerdError] = FailedPrecondition
    if state is State.DELETED or (verb == "kill" and state is State.STOPPED):
        kind = NotFound
    raise kind(f"cannot {verb} {what}: it is {state.value}")
