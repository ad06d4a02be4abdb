"""How long each part of the daemon's start took: what ``--profile-startup`` prints."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:  # imported before the kernel is, to see how long that takes
    from pycontainerd.kernel import Report

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("containerd")

# Each ends with a mark; the time before `main` is the interpreter's.
PHASES = {
    "interpreter": "Python itself, and the first modules",
    "config": "the configuration, and the modules of the kernel",
    "modules": "the daemon's own modules",
    "zygote": "the process that shims are copies of",
    "discovery": "finding plugins, and importing them",
    "plugins": "their init, several at a time",
    "serving": "what is left until the socket answers and the service manager knows",
}


class Startup:
    """Marks the end of each phase. Made when `main` begins."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[float, float]] = {}
        self.mark("interpreter")

    def mark(self, phase: str) -> None:
        """The phase ends now."""
        self._marks[phase] = time.clock_gettime(time.CLOCK_BOOTTIME), time.process_time()

    def timed(self, phase: str, function: Callable[P, T]) -> Callable[P, T]:
        """``function``, whose call ends the phase."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            result = function(*args, **kwargs)
            self.mark(phase)
            return result

        return call

    def finish(self, report: Report, path: str | None) -> None:
        """The last phase ends now. Write the profile to the file ``path``; "": to standard error; None: not at all."""
        self.mark("serving")
        if path is None:
            return
        try:
            self.write(report, path)
        except OSError as exc:
            log.warning(f"cannot write the profile of the start to {path}: {exc.strerror or exc}")

    def write(self, report: Report, path: str = "") -> None:
        """Write the profile to the file ``path``, or to standard error."""
        text = "\n".join(self.lines(report)) + "\n"
        if path:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            sys.stderr.write(text)
            sys.stderr.flush()

    def lines(self, report: Report) -> Iterator[str]:
        """The profile as a table."""
        began = last = (_process_start(), 0.0)
        yield "phase              ms  cpu ms"
        for phase, what in PHASES.items():
            if phase in self._marks:
                yield f"{phase:<12} {_between(last, self._marks[phase])}   {what}"
                last = self._marks[phase]
        yield f"{'all':<12} {_between(began, last)}"
        yield ""
        yield "plugins, the slowest first; what several import counts for the first; inits that overlap wait for each other"
        yield "import ms   init ms   state           plugin"
        rows = [row for row in report if row.state != "not-installed"]
        for row in sorted(rows, key=lambda row: row.import_seconds + row.init_seconds, reverse=True):
            times = f"{row.import_seconds * 1000:9.1f} {row.init_seconds * 1000:9.1f}"
            yield f"{times}   {row.state:<15} {row.uri} ({row.package or 'no package'})"


def _between(began: tuple[float, float], ended: tuple[float, float]) -> str:
    """Milliseconds of the clock and of the processor."""
    return " ".join(f"{(after - before) * 1000:7.1f}" for before, after in zip(began, ended, strict=True))


def _process_start() -> float:
    """When the kernel made this process, in CLOCK_BOOTTIME, to the hundredth of a second."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")
