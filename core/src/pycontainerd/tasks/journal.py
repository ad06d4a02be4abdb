"""Which exits were published, kept in the bundle: so that after a restart none is missed and none comes twice.

Both the daemon (when it finds a process dead) and a shim (which repeats what it could not deliver) may tell of the same
exit. An exit is the same if container, exec, pid and time are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import attrs

from .bundle import Bundle

_FILE = "processes.log"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_LINES = 4096
_KEPT = 256  # exits of deleted execs: those that a shim may still repeat
_LIMIT = 16 << 20  # bytes read back


@attrs.frozen
class ExitKey:
    """One exit. ``at`` is in microseconds since 1970 (what a datetime can hold)."""

    exec_id: str
    pid: int
    at: int

    @classmethod
    def of(cls, exec_id: str, pid: int, exited_at: datetime) -> ExitKey:
        return cls(exec_id, pid, (exited_at - _EPOCH) // timedelta(microseconds=1))

    @property
    def exited_at(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.at)


@attrs.define
class Journal:
    """Of one task."""

    bundle: Bundle
    exits: dict[ExitKey, int] = attrs.field(factory=dict)
    execs: set[str] = attrs.field(factory=set)
    _lines: int = 0

    @classmethod
    def load(cls, bundle: Bundle) -> Journal:
        """What was recorded; a line that a crash cut short is dropped."""
        journal = cls(bundle)
        try:
            with open(bundle.file(_FILE), encoding="utf-8", errors="replace") as file:
                for line in file.read(_LIMIT).splitlines():
                    journal._replay(line)
                    journal._lines += 1
        except FileNotFoundError:
            pass
        return journal

    def _replay(self, line: str) -> None:
        try:
            fields = json.loads(line)
            if "exec" in fields:
                self.execs.add(str(fields["exec"]))
            elif "gone" in fields:
                self.execs.discard(str(fields["gone"]))
            else:
                exec_id, pid, at, status = fields["exit"]
                self.exits[ExitKey(str(exec_id), int(pid), int(at))] = int(status)
        except (ValueError, KeyError, TypeError, RecursionError):
            return

    def exit(self, key: ExitKey, status: int) -> bool:
        """Record an exit; False if it is known already."""
        if key in self.exits:
            return False
        self.exits[key] = status
        self._append({"exit": [key.exec_id, key.pid, key.at, status]})
        return True

    def last(self, exec_id: str = "") -> tuple[ExitKey, int] | None:
        """The exit that was recorded for the task itself, or for an exec."""
        found = [(key, status) for key, status in self.exits.items() if key.exec_id == exec_id]
        return found[-1] if found else None

    def added(self, exec_id: str) -> None:
        """An exec came."""
        self.execs.add(exec_id)
        self._append({"exec": exec_id})

    def removed(self, exec_id: str) -> None:
        """An exec was deleted. Its exit is remembered: a shim may still repeat it."""
        if exec_id in self.execs:
            self.execs.discard(exec_id)
            self._append({"gone": exec_id})

    def _append(self, record: Mapping[str, object]) -> None:
        # A few bytes to a file in memory (state directories are on tmpfs): not worth a thread, which would lose the order.
        try:
            with open(self.bundle.file(_FILE), "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            self._lines += 1
            if self._lines > _MOST_LINES:
                self._compact()
        except FileNotFoundError:
            return  # the bundle is gone, and with it the need to remember

    def _compact(self) -> None:
        """Forget the oldest exits of deleted execs: a container whose health is checked has millions of them."""
        old = [key for key in self.exits if key.exec_id and key.exec_id not in self.execs][:-_KEPT]
        for key in old:
            del self.exits[key]
        records: list[Mapping[str, object]] = [
            {"exit": [key.exec_id, key.pid, key.at, status]} for key, status in self.exits.items()
        ]
        records += [{"exec": exec_id} for exec_id in sorted(self.execs)]
        self.bundle.write(_FILE, "".join(json.dumps(record) + "\n" for record in records))
        self._lines = len(records)
