"""Limits over all transfers, and on verification: what configures both."""

from __future__ import annotations

from typing import Any

import attrs

from pycontainerd.contracts.durations import parse
from pycontainerd.contracts.errors import InvalidArgument

VERIFIER_DEADLINE = 120.0  # seconds for each verifier of images


@attrs.frozen
class TransferConfig:
    """Limits over all transfers, and where hosts.toml files are for clients that name no directory.

    ``max_concurrent_downloads`` blobs are fetched at a time. ``max_concurrent_uploaded_layers`` blobs are pushed at a
    time. ``max_concurrent_unpacks`` layers are unpacked at a time. ``config_path`` has the directories with hosts.toml
    files.
    """

    max_concurrent_downloads: int = 3
    max_concurrent_uploaded_layers: int = 3
    max_concurrent_unpacks: int = 1
    config_path: str = ""


def _timeout(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    if not 0 < parse(value) < VERIFIER_DEADLINE:
        raise InvalidArgument(
            f"per_verifier_timeout must be above 0 and below {VERIFIER_DEADLINE:g}s, not {value!r:.80}"
        )


@attrs.frozen
class BindirConfig:
    """Programs that verify images before they are pulled.

    ``bin_dir`` is the directory with the programs; without it, or with nothing in it, nothing is verified.
    ``max_verifiers`` is how many of them are asked, the first by name; less than 0 is all.
    ``per_verifier_timeout`` is how long each may take; one that takes longer refuses.
    """

    bin_dir: str = "/opt/containerd/image-verifier/bin"
    max_verifiers: int = 10
    per_verifier_timeout: str = attrs.field(default="10s", validator=_timeout)
