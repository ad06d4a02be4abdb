"""Exits are told once, also across restarts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.api.anys import pack
from pycontainerd.api.convert import timestamp
from pycontainerd.api.events import task_pb2
from pycontainerd.contracts.events import Envelope, TaskExit
from pycontainerd.contracts.types import AnyValue
from pycontainerd.tasks.bundle import Bundle
from pycontainerd.tasks.journal import ExitKey, Journal

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle("ns", "c", str(tmp_path), str(tmp_path / "work"))


def test_an_exit_is_new_once(bundle: Bundle) -> None:
    journal = Journal(bundle)
    assert journal.exit(ExitKey("", 7, 1), 3)
    assert not journal.exit(ExitKey("", 7, 1), 3)
    assert journal.exit(ExitKey("", 8, 1), 0)


def test_it_is_still_known_after_a_restart(bundle: Bundle) -> None:
    first = Journal(bundle)
    first.exit(ExitKey("e", 7, 1), 3)
    first.exit(ExitKey.of("", 9, WHEN), 137)
    again = Journal.load(bundle)
    assert not again.exit(ExitKey("e", 7, 1), 3)
    assert again.last() == (ExitKey.of("", 9, WHEN), 137)
    assert again.last("e") == (ExitKey("e", 7, 1), 3)
    assert ExitKey.of("", 9, WHEN).exited_at == WHEN


def test_execs_that_were_not_deleted_are_remembered(bundle: Bundle) -> None:
    first = Journal(bundle)
    for name in ("a", "b"):
        first.added(name)
    first.removed("a")
    first.removed("never")
    assert Journal.load(bundle).execs == {"b"}


def test_a_line_that_a_crash_cut_short_is_dropped(bundle: Bundle) -> None:
    Journal(bundle).exit(ExitKey("", 7, 1), 3)
    with open(bundle.file("processes.log"), "a", encoding="utf-8") as file:
        file.write('{"exit": ["", 8, ')
    assert list(Journal.load(bundle).exits) == [ExitKey("", 7, 1)]


def test_it_does_not_grow_with_every_exec_there_ever_was(bundle: Bundle) -> None:
    journal = Journal(bundle)
    journal.added("stays")
    journal.exit(ExitKey("stays", 1, 1), 0)
    for number in range(3000):
        journal.added(f"e{number}")
        journal.exit(ExitKey(f"e{number}", 7, number), 0)
        journal.removed(f"e{number}")
    journal.exit(ExitKey("", 9, 9), 0)
    with open(bundle.file("processes.log"), encoding="utf-8") as file:
        assert len(file.readlines()) < 5000
    again = Journal.load(bundle)
    assert again.execs == {"stays"}
    for key in (ExitKey("stays", 1, 1), ExitKey("", 9, 9), ExitKey("e2999", 7, 2999)):
        assert not again.exit(key, 0)


def test_a_bundle_that_is_gone_needs_no_journal(tmp_path: Path) -> None:
    bundle = Bundle("ns", "c", str(tmp_path / "gone"), "")
    assert Journal(bundle).exit(ExitKey("", 7, 1), 3)
    assert Journal.load(bundle).exits == {}


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_loaded(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("b")
    (path / "processes.log").write_bytes(data)
    Journal.load(Bundle("ns", "c", str(path), ""))


def envelope(event: object) -> Envelope:
    return Envelope(WHEN, "ns", "/tasks/exit", event)


def test_the_bus_is_screened_for_exits_that_were_told(bundle: Bundle) -> None:
    import asyncio

    from pycontainerd.tasks.screen import admits
    from pycontainerd.tasks.table import Table
    from pycontainerd.tasks.task import Phase, Task

    async def test() -> None:
        table = Table()
        task = Task("ns", "c", Phase.LIVE, bundle=bundle, journal=Journal(bundle))
        assert table.add(task)
        assert not table.add(Task("ns", "c", Phase.CREATING))
        told = task_pb2.TaskExit(container_id="c", id="c", pid=7, exit_status=3, exited_at=timestamp(WHEN))
        told.exited_at.nanos += 999  # what a datetime cannot hold
        packed = pack(told)
        assert admits(table, envelope(TaskExit("c", "c", 7, 3, WHEN)))
        assert not admits(table, envelope(AnyValue(packed.type_url, packed.value)))
        assert admits(table, envelope(TaskExit("c", "e", 7, 3, WHEN)))
        assert admits(table, envelope(TaskExit("other", "other", 7, 3, WHEN)))
        assert admits(table, envelope(AnyValue("x", b"\xff")))
        assert admits(table, Envelope(WHEN, "ns", "/tasks/start", object()))
        table.remove(task)

    asyncio.run(test())
