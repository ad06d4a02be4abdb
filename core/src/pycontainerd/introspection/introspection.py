"""The daemon's identity, and its report as rows that filters can be asked of."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from functools import partial

from pycontainerd.contracts.errors import DataLoss
from pycontainerd.contracts.filters import parse
from pycontainerd.kernel import Report, Row


def identity(root: str) -> str:
    """The daemon's UUID, made once and kept in ``root``.

    :raises DataLoss: the file is there but holds no UUID.
    """
    path = os.path.join(root, "uuid")
    try:
        with open(path, encoding="ascii") as handle:
            text = handle.read(64).strip()
    except FileNotFoundError:
        text = ""
    if text:
        try:
            return str(uuid.UUID(text))
        except ValueError:
            raise DataLoss(f"{path} does not hold a UUID", hint="remove the file to get a new one") from None
    made = str(uuid.uuid4())
    with open(f"{path}.new", "w", encoding="ascii") as handle:
        handle.write(made)
    os.rename(f"{path}.new", path)
    return made


def select(report: Report, filters: Sequence[str]) -> list[Row]:
    """The rows that match ``filters`` (fields: type, id, platforms, capabilities, state, package; containerd's filter syntax)."""
    wanted = parse(filters)
    return [row for row in report.rows.values() if wanted.match(partial(_field, row))]


def _field(row: Row, path: Sequence[str]) -> str | None:
    if not path:
        return None
    match path[0]:
        case "type" | "id" | "state" | "package":
            return str(getattr(row, path[0]))
        case "platforms" | "capabilities":
            values = getattr(row, path[0])
            return ",".join(values) if values else None
    return None
