"""Progress of pulls and imports: bars on a terminal, plain lines elsewhere. `rich` is loaded only for bars."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pycontainerd.client.transfer import Progress

if TYPE_CHECKING:
    import rich.progress

_SHOWN = 40  # characters of a name
_FINAL = frozenset({"complete", "saved", "exists", "already exists", "unpacked", "extracted", "done"})


@contextlib.contextmanager
def shown(title: str) -> Iterator[Callable[[Progress], None]]:
    """Show what the yielded function is told until the end of the ``with``."""
    if sys.stderr.isatty():
        with _bars() as tell:
            yield tell
    else:
        yield _lines(title)


def _lines(title: str) -> Callable[[Progress], None]:
    seen: set[tuple[str, str]] = set()

    def tell(step: Progress) -> None:
        """A line when something changes its state, none for bytes in between."""
        key = (step.name, step.event)
        if key not in seen:
            seen.add(key)
            sys.stderr.write(f"{step.name or title}: {step.event}\n")

    return tell


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns: list[Any] = [TextColumn("{task.description}"), TextColumn("{task.fields[event]}"), BarColumn()]
    with Bars(*columns, DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True)) as bars:
        tasks: dict[str, rich.progress.TaskID] = {}

        def tell(step: Progress) -> None:
            if not step.name:
                return
            name = step.name if len(step.name) <= _SHOWN else f"{step.name[: _SHOWN - 1]}…"
            if step.name not in tasks:
                tasks[step.name] = bars.add_task(name, event=step.event, total=step.total or None)
            done = step.event in _FINAL
            total = step.total or (step.progress if done else 0)
            bars.update(
                tasks[step.name], event=step.event, total=total or (1 if done else None),
                completed=total or 1 if done else step.progress,
            )  # fmt: skip

        yield tell
