"""CRI's one table of version 2, ``[plugins."io.containerd.grpc.v1.cri"]``, as the three of version 3."""

from __future__ import annotations

from .document import Document, Path

SERVER: Path = ("plugins", "io.containerd.grpc.v1.cri")
IMAGES: Path = ("plugins", "io.containerd.cri.v1.images")
RUNTIME: Path = ("plugins", "io.containerd.cri.v1.runtime")

_STAYS = frozenset(
    {
        "disable_tcp_service",
        "stream_server_address",
        "stream_server_port",
        "stream_idle_timeout",
        "enable_tls_streaming",
        "x509_key_pair_streaming",
    }
)
_OF_IMAGES = frozenset(
    {
        "registry",
        "image_decryption",
        "max_concurrent_downloads",
        "image_pull_progress_timeout",
        "image_pull_with_sync_fs",
        "stats_collect_period",
    }
)
_OF_IMAGES_IN_CONTAINERD = frozenset({"snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers"})


def split(document: Document) -> None:
    """Move what is about images and about the runtime to their tables; the server of the API keeps its streaming.

    Where a file has a key under both names, those of images are taken from the old table and those of the runtime from
    the new one, as the Go containerd does.
    """
    table = document.get(SERVER)
    if not isinstance(table, dict):
        return
    document.move((*SERVER, "sandbox_image"), (*IMAGES, "pinned_images", "sandbox"), old_wins=True)
    containerd = table.get("containerd")
    if isinstance(containerd, dict):
        for key in [key for key in containerd if key in _OF_IMAGES_IN_CONTAINERD]:
            document.move((*SERVER, "containerd", key), (*IMAGES, key), old_wins=True)
    cni = table.get("cni")
    if isinstance(cni, dict) and isinstance(cni.get("bin_dir"), str):
        _bin_dirs(document, cni["bin_dir"])
    for key in list(table):
        if key in _STAYS:
            continue
        target = IMAGES if key in _OF_IMAGES else RUNTIME
        document.move((*SERVER, key), (*target, key), old_wins=key in _OF_IMAGES)
    if not document.get(SERVER):
        document.drop(SERVER)
    _sandboxers(document)


def _bin_dirs(document: Document, value: str) -> None:
    """Version 3 has a list of directories where CNI plugins are."""
    old, new = (*SERVER, "cni", "bin_dir"), (*SERVER, "cni", "bin_dirs")
    if not document.get(new) and not document.get((*RUNTIME, "cni", "bin_dirs")):
        document.put(new, [value], old)
    document.drop(old)


def _sandboxers(document: Document) -> None:
    runtimes = document.get((*RUNTIME, "containerd", "runtimes"))
    if not isinstance(runtimes, dict):
        return
    for name, runtime in runtimes.items():
        if isinstance(runtime, dict) and "sandbox_mode" in runtime:
            path = (*RUNTIME, "containerd", "runtimes", name)
            document.move((*path, "sandbox_mode"), (*path, "sandboxer"))
