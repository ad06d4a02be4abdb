"""Limits over all transfers."""

from __future__ import annotations

import attrs


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
