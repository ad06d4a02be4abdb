"""What is ZFS's own in the zfs snapshotter; what all snapshotters must do is in tests/conformance."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import DeadlineExceeded, FailedPrecondition, NotFound, NotImplemented, Unavailable
from pycontainerd.contracts.types import Mount
from pycontainerd.kernel import Skip
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.testing import zfs as testing
from pycontainerd.testing.filesystems import run
from pycontainerd_snapshotter_zfs import place, plugin
from pycontainerd_snapshotter_zfs.command import zfs
from pycontainerd_snapshotter_zfs.datasets import STATE, Datasets
from pycontainerd_snapshotter_zfs.snapshotter import ZfsSnapshotter
from pycontainerd_snapshotter_zfs.usages import Usages

pytestmark = pytest.mark.root


class Crash(BaseException):
    """The daemon dies here."""


@pytest.fixture(scope="module")
def pool() -> Iterator[testing.Pool]:
    with testing.pool() as made:
        yield made


@pytest.fixture
def dataset(pool: testing.Pool) -> Iterator[str]:
    name = f"{pool.dataset}/{uuid.uuid4().hex[:8]}"
    run("zfs", "create", "-o", "mountpoint=none", name)
    yield name
    run("zfs", "destroy", "-R", name)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
    yield opened
    opened.close()


@pytest.fixture
def start(dataset, database):
    """A snapshotter as a daemon that starts has it."""
    return lambda: ZfsSnapshotter(dataset, RecordStore(database).records("zfs"))


def shape(dataset: str) -> set[str]:
    listed = run("zfs", "list", "-H", "-r", "-o", "name", "-t", "filesystem,snapshot", dataset)
    return {line[len(dataset) + 1 :] for line in listed.splitlines() if line != dataset}


def test_the_layout_and_the_mounts_are_the_go_containerds(dataset, start):
    snapshotter = start()
    assert snapshotter.prepare("a") == (Mount("zfs", f"{dataset}/1"),)
    snapshotter.commit("c", "a")
    assert snapshotter.view("v", "c") == (Mount("zfs", f"{dataset}/2", options=("ro",)),)
    assert snapshotter.mounts("v") == (Mount("zfs", f"{dataset}/2", options=("ro",)),)
    assert shape(dataset) == {"1", "1@snapshot", "2"}
    listed = run("zfs", "get", "-H", "-o", "value", "mountpoint", f"{dataset}/1", f"{dataset}/2")
    assert listed.split() == ["legacy", "legacy"]
    snapshotter.remove("v")
    snapshotter.remove("c")
    snapshotter.cleanup()
    assert shape(dataset) == set()


def test_a_missing_dataset_does_not_keep_its_record(dataset, start):
    snapshotter = start()
    snapshotter.prepare("a")
    snapshotter.commit("c", "a")
    snapshotter.prepare("b", "c")
    run("zfs", "destroy", f"{dataset}/2")
    with pytest.raises(NotFound):
        snapshotter.usage("b")
    snapshotter.remove("b")
    run("zfs", "destroy", "-r", f"{dataset}/1")
    with pytest.raises(NotFound, match="unpack the image again"):
        snapshotter.prepare("d", "c")
    snapshotter.remove("c")
    snapshotter.cleanup()
    assert list(snapshotter.walk()) == []


def test_a_busy_dataset_is_removed_from_the_records_and_destroyed_later(dataset, start):
    snapshotter = start()
    snapshotter.prepare("a")
    snapshotter.commit("c", "a")
    snapshotter.prepare("other")
    with testing.mounted(snapshotter.prepare("b", "c")) as path, open(f"{path}/f", "w"):
        for key in ("b", "c", "other"):
            snapshotter.remove(key)
        with pytest.raises(FailedPrecondition, match="tried again at the next cleanup"):
            snapshotter.cleanup()
        assert list(snapshotter.walk()) == []
        assert "2" not in shape(dataset)  # what is not busy is gone
        assert "3" in shape(dataset)
    snapshotter.cleanup()
    assert shape(dataset) == set()


def test_what_a_crash_leaves_goes_at_the_next_start(dataset, start, monkeypatch):
    snapshotter = start()
    snapshotter.prepare("kept")

    def dying(*_, **__):
        raise Crash

    monkeypatch.setattr(snapshotter._records, "create", dying)
    monkeypatch.setattr(Datasets, "delete", dying)
    with pytest.raises(Crash):
        snapshotter.prepare("half")
    assert shape(dataset) == {"1", "2"}
    monkeypatch.undo()
    start().cleanup()
    assert shape(dataset) == {"1"}


@pytest.mark.parametrize("state", ["new", "rm"])
def test_a_dataset_that_has_its_record_is_whole_whatever_a_crash_left_on_it(dataset, start, state):
    with testing.mounted(start().prepare("a")) as path:
        Path(path, "f").write_text("kept")
    run("zfs", "set", f"{STATE}={state}", f"{dataset}/1")
    again = start()
    again.cleanup()
    assert list(Datasets(dataset).names()) == ["1"]
    with testing.mounted(again.mounts("a")) as path:
        assert Path(path, "f").read_text() == "kept"
    again.commit("c", "a")


def test_a_snapshot_whose_dataset_is_gone_begins_anew(dataset, start):
    start().prepare("a")
    run("zfs", "destroy", f"{dataset}/1")
    again = start()
    with testing.mounted(again.mounts("a")) as path:
        Path(path, "f").write_text("usable")
    assert list(Datasets(dataset).names()) == ["1"]


def test_a_command_of_a_daemon_that_was_killed_may_end_late(dataset, start):
    """It marks a snapshot for removal whose record nobody has removed."""
    snapshotter = start()
    with testing.mounted(snapshotter.prepare("a")) as path:
        Path(path, "f").write_text("kept")
    run("zfs", "set", f"{STATE}=rm", f"{dataset}/1")
    snapshotter._restore()
    Datasets(dataset).delete("new.1")
    with testing.mounted(snapshotter.mounts("a")) as path:
        assert Path(path, "f").read_text() == "kept"
    snapshotter.cleanup()
    assert list(Datasets(dataset).names()) == ["1"]


def test_a_zfs_snapshot_that_a_crash_in_a_commit_left_is_taken_anew(dataset, start):
    snapshotter = start()
    mounts = snapshotter.prepare("a")
    run("zfs", "snapshot", f"{dataset}/1@snapshot")
    with testing.mounted(mounts) as path:
        Path(path, "f").write_text("later")
    snapshotter.commit("c", "a")
    with testing.mounted(snapshotter.view("v", "c")) as path:
        assert Path(path, "f").read_text() == "later"


def test_a_failed_commit_leaves_no_zfs_snapshot(dataset, start):
    snapshotter = start()
    for key in ("a", "b"):
        snapshotter.prepare(key)
    snapshotter.commit("c", "a")
    with pytest.raises(Exception, match="already exists"):
        snapshotter.commit("c", "b")
    with pytest.raises(NotImplemented, match="all its files"):
        snapshotter.commit("d", "b", parent="c")
    assert shape(dataset) == {"1", "1@snapshot", "2"}


def test_datasets_of_others_are_left_alone(dataset, start):
    run("zfs", "create", f"{dataset}/backup")
    run("zfs", "create", f"{dataset}/7")
    snapshotter = start()
    snapshotter.prepare("a")
    snapshotter.cleanup()
    assert shape(dataset) == {"backup", "7", "8"}


def test_usages_asked_for_together_take_one_command_and_are_never_old():
    entered, go, asked = threading.Event(), threading.Event(), []

    def ask(*numbers: int) -> dict[int, int]:
        asked.append(numbers)
        if len(asked) == 1:
            entered.set()
            go.wait(10)
        return {number: number * len(asked) for number in numbers if number != 13}

    usages, answers = Usages(ask), {}

    def get(number: int) -> None:
        try:
            answers[number] = usages.get(number)
        except NotFound:
            answers[number] = "gone"

    threads = [threading.Thread(target=get, args=(1,))]
    threads[0].start()
    entered.wait(10)
    for number in (2, 3, 13):
        threads.append(threading.Thread(target=get, args=(number,)))
        threads[-1].start()
    while len(usages._next.numbers) < 3:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert asked == [(1,), (2, 3, 13)]
    assert answers == {1: 1, 2: 4, 3: 6, 13: "gone"}


def test_the_bytes_of_many_datasets_are_one_command_even_when_some_are_gone(dataset, start):
    snapshotter = start()
    for key in ("a", "b", "c"):
        snapshotter.prepare(key)
    commands = []

    def counting(*arguments: str) -> str:
        commands.append(arguments)
        return zfs(*arguments)

    datasets = Datasets(dataset, counting)
    assert set(datasets.used(1, 2, 3)) == {1, 2, 3}
    assert len(commands) == 1
    run("zfs", "destroy", f"{dataset}/2")
    assert set(datasets.used(1, 2, 3)) == {1, 3}


def test_a_command_that_hangs_is_given_up_with_what_to_do(tmp_path, monkeypatch):
    script = tmp_path / "zfs"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DeadlineExceeded, match=r"zfs list: no answer in 0\.2 seconds \(zpool status"):
        zfs("list", deadline=0.2)


def test_without_the_command_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="zfsutils-linux"):
        zfs("list")


def test_a_directory_that_is_no_mount_point_of_a_dataset_is_skipped_with_what_would_help(pool, tmp_path):
    assert place.check(pool.root) == pool.dataset
    for directory in (str(tmp_path), f"{pool.root}/below"):
        Path(directory).mkdir(exist_ok=True)
        with pytest.raises(Skip, match=rf"zfs create -o mountpoint={directory} POOL/containerd"):
            place.check(directory)


def test_what_is_on_disk_is_told_while_no_daemon_runs(pool, tmp_path, database):
    snapshotter = ZfsSnapshotter(pool.dataset, RecordStore(database).records("zfs"))
    snapshotter.prepare("a")
    run("zfs", "create", "-o", "mountpoint=none", "-o", f"{STATE}=rm", f"{pool.dataset}/7")
    found = {holding.number: holding for holding in plugin.holdings(pool.root)}
    assert {number: (one.path, one.leftover) for number, one in found.items()} == {
        1: (f"{pool.dataset}/1", False),
        7: (f"{pool.dataset}/7", True),
    }
    found[7].delete()
    assert [holding.number for holding in plugin.holdings(pool.root)] == [1]
    snapshotter.remove("a")
    snapshotter.cleanup()
    with pytest.raises(FailedPrecondition, match="no zfs dataset"):
        list(plugin.holdings(str(tmp_path)))
