"""The datasets of snapshots: children of one dataset, by number, with a property that says which are not whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, FailedPrecondition, NotFound

from .command import zfs

STATE = "pycontainerd:state"
"""The property of a dataset that is being made (``new``) or removed (``rm``). Unlike a name it can change while mounted."""
SNAPSHOT = "snapshot"
"""What the ZFS snapshot of a committed snapshot is called, as in the Go containerd."""
_PAUSES = (0.05, 0.1, 0.2)  # seconds; a dataset is busy for a moment when another command looks at it
_UNSET = ("-", "")


class Datasets:
    """`sys.snapdirs.Trees` as datasets of ``parent``. Of "new.7" and "rm.7" the part before the dot is the state."""

    def __init__(self, parent: str, run: Callable[..., str] = zfs) -> None:
        self._parent = parent
        self._zfs = run

    def names(self) -> Iterable[str]:
        """One command lists them all, however many there are."""
        listed = self._zfs("get", "-H", "-r", "-d", "1", "-o", "name,value", STATE, self._parent)
        return list(_names(listed, self._parent))

    def path(self, name: str) -> str:
        """The dataset."""
        return f"{self._parent}/{name.rpartition('.')[2]}"

    def rename(self, old: str, new: str) -> bool:
        try:
            self._zfs(*_marking(new), self.path(new))
        except NotFound:
            return False
        return True

    def delete(self, name: str) -> None:
        """Destroy a dataset with its ZFS snapshot.

        One that is mounted, or has clones that are, is left for later; what it has committed is destroyed by ZFS itself once
        the last clone is. What is not in the state that ``name`` says is another's by now, and stays.
        """
        dataset = self.path(name)
        if self._state(dataset) != name.rpartition(".")[0]:
            return
        try:
            self._destroy(dataset)
        except NotFound:
            return
        except FailedPrecondition as exc:
            with contextlib.suppress(ContainerdError):  # there may be none; the first error is the one to tell
                self._zfs("destroy", "-d", f"{dataset}@{SNAPSHOT}")
            exc.hint = exc.hint or "it is tried again at the next cleanup"
            raise

    def exists(self, dataset: str) -> bool:
        """Whether it is there. One that is, is whole: ZFS makes them in one step."""
        return self._state(dataset) is not None

    def _state(self, dataset: str) -> str | None:
        """None when it is not there."""
        try:
            value = self._zfs("get", "-H", "-o", "value", STATE, dataset).strip()
        except NotFound:
            return None
        return "" if value in _UNSET else value

    def _destroy(self, dataset: str) -> None:
        for pause in _PAUSES:
            try:
                self._zfs("destroy", "-r", dataset)
                return
            except FailedPrecondition:
                time.sleep(pause)
        self._zfs("destroy", "-r", dataset)

    def create(self, dataset: str, *, parent: int | None = None) -> None:
        """Make ``dataset``, empty or as a clone of the committed snapshot ``parent``, in the state ``new``."""
        options = ("-o", "mountpoint=legacy", "-o", f"{STATE}=new")
        try:
            if parent is None:
                self._zfs("create", *options, dataset)
            else:
                self._zfs("clone", *options, f"{self._parent}/{parent}@{SNAPSHOT}", dataset)
        except NotFound as exc:
            raise NotFound(
                f"the dataset of the parent snapshot is gone: {exc.message}",
                hint="remove the snapshots on it and unpack the image again",
            ) from exc

    def snapshot(self, number: int) -> None:
        """Take the ZFS snapshot that is the committed one; one that a crash in a commit left is replaced."""
        name = f"{self._parent}/{number}@{SNAPSHOT}"
        try:
            self._zfs("snapshot", name)
        except AlreadyExists:
            self._zfs("destroy", name)
            self._zfs("snapshot", name)

    def drop_snapshot(self, number: int) -> None:
        """Undo `snapshot`."""
        self._zfs("destroy", f"{self._parent}/{number}@{SNAPSHOT}")

    def used(self, *numbers: int) -> dict[int, int]:
        """The bytes that each takes, ``parent``'s not counted; one command for all. What is not there is left out."""
        wanted = [f"{self._parent}/{number}" for number in numbers]
        try:
            listed = self._zfs("get", "-Hp", "-o", "name,value", "used", *wanted)
        except NotFound:
            if len(numbers) == 1:
                return {}
            found: dict[int, int] = {}
            for number in numbers:
                found |= self.used(number)
            return found
        return {int(name): int(value) for name, value in _lines(listed, self._parent) if value.isdecimal()}


def _marking(name: str) -> tuple[str, ...]:
    state = name.rpartition(".")[0]
    return ("set", f"{STATE}={state}") if state else ("inherit", STATE)


def _lines(listed: str, parent: str) -> Iterator[tuple[str, str]]:
    """The last part of each name, and the value."""
    for line in listed.splitlines():
        name, _, value = line.partition("\t")
        if name.startswith(f"{parent}/"):
            yield name[len(parent) + 1 :], value.strip()


def _names(listed: str, parent: str) -> Iterator[str]:
    for name, state in _lines(listed, parent):
        if name.isdecimal():
            yield name if state in _UNSET else f"{state}.{name}"
