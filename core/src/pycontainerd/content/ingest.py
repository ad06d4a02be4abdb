"""The directory of one ingest, in the Go containerd's layout.

``data`` are the bytes so far, ``ref`` names the ingest, ``startedat`` and ``updatedat`` are RFC 3339 times, ``total`` is
the size that was announced, if any. What a crash may leave (a directory without ``data`` or ``ref``) counts as none.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime

import attrs

from pycontainerd.contracts.content import IngestStatus
from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.types import now
from pycontainerd.sys.fs import write_atomic

_NOTE = 16384  # bytes of a file beside the data that are looked at


@attrs.frozen
class IngestDirectory:
    """The files of the ingest in ``path``."""

    path: str

    @property
    def data(self) -> str:
        return os.path.join(self.path, "data")

    def begin(self, ref: str, total: int) -> datetime:
        """Make the directory of a new ingest; its start time."""
        started = now()
        os.makedirs(self.path, mode=0o755, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.data)
        self._write("ref", ref)
        self._write("startedat", _stamp(started))
        self.touch(started)
        if total:
            self._write("total", str(total))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.path, "total"))
        return started

    def touch(self, moment: datetime) -> None:
        """Note when it was last written to."""
        self._write("updatedat", _stamp(moment))

    def status(self) -> IngestStatus:
        """:raises NotFound: there is no ingest here."""
        try:
            data = os.stat(self.data)
            ref = self._read("ref")
        except FileNotFoundError:
            raise NotFound(f"no ingest in {self.path}") from None
        modified = datetime.fromtimestamp(data.st_mtime, UTC)
        total = self._optional("total")
        started = _moment(self._optional("startedat")) or modified
        updated = _moment(self._optional("updatedat")) or modified
        return IngestStatus(
            ref=ref,
            offset=data.st_size,
            total=int(total) if total.isascii() and total.isdigit() else 0,
            expected="",
            started_at=started,
            updated_at=max(updated, modified),
        )

    def _optional(self, name: str) -> str:
        try:
            return self._read(name)
        except FileNotFoundError:
            return ""

    def _read(self, name: str) -> str:
        with open(os.path.join(self.path, name), "rb") as handle:
            return handle.read(_NOTE).decode("utf-8", "replace")

    def _write(self, name: str, text: str) -> None:
        write_atomic(os.path.join(self.path, name), text.encode(), sync=False)


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
