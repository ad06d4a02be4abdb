"""What was lost with a damaged database, and what was brought back: for the log, and in a file beside the quarantine."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence

import attrs

from pycontainerd.contracts.database import Damage
from pycontainerd.sys.fs import write_atomic

from .copies import taken_at
from .salvage import Salvaged

SUFFIX = ".report"


@attrs.define(eq=False)
class Report(Damage):
    """`contracts.database.Damage` with a file that follows it. Thread-safe."""

    path: str = ""
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def add(self, sentence: str) -> None:
        """Say one more thing, also in the file."""
        with self._lock:
            self.sentences.append(sentence)
            self._write()

    def save(self) -> None:
        """Write the file."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if not self.path:
            return
        body = {"database": self.database, "reason": self.reason, "kept_as": self.aside, "report": self.sentences}
        try:
            write_atomic(self.path, json.dumps(body, indent=2).encode() + b"\n", 0o600)
        except OSError as exc:  # the log has it all the same
            self.sentences.append(f"this report could not be written to {self.path}: {exc.strerror or exc}")
            self.path = ""


def restored(copy: str, tables: Mapping[str, Salvaged], *, complete: bool = False) -> Sequence[str]:
    """Sentences on what the new database is made of."""
    if complete:
        return [f"{_copy(copy)}; it was made at the end of the last daemon and has all that there was: nothing is lost"]
    sentences = [_copy(copy)]
    for name, outcome in sorted(tables.items()):
        if name == "schema_versions" or not (outcome.copied or outcome.read or outcome.refused):
            continue
        if outcome.whole:
            sentences.append(f"{name}: all {outcome.read} records were read from the damaged file")
            continue
        refused = f", {outcome.refused} made no sense" if outcome.refused else ""
        sentences.append(
            f"{name}: {outcome.copied} records came from the copy, {outcome.read} could be read from the damaged file"
            f"{refused}; newer ones than the copy's may be lost, deleted ones may be back"
        )
    return sentences


def _copy(copy: str) -> str:
    if not copy:
        return "there was no sound copy: records that could not be read from the damaged file are lost"
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(taken_at(copy)))
    return f"the copy {os.path.basename(copy)} of {when} was restored"
