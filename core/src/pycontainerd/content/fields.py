"""The fields of blobs and ingests that filters can ask for."""

from __future__ import annotations

from collections.abc import Sequence

from pycontainerd.contracts import labels
from pycontainerd.contracts.content import ContentInfo, IngestStatus


def info_field(info: ContentInfo, path: Sequence[str]) -> str | None:
    match list(path):
        case ["digest"]:
            return info.digest
        case ["size"]:
            return str(info.size)
        case ["labels", *rest]:
            return labels.field(info.labels, rest)
    return None


def status_field(status: IngestStatus, path: Sequence[str]) -> str | None:
    return status.ref if list(path) == ["ref"] else None
