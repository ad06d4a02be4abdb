"""Whether overlayfs works on a directory, found out by using it."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Sequence

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.types import Mount
from pycontainerd.kernel import Skip
from pycontainerd.sys.mount import mounted, remove_tree, unmount_left

_SCRATCH = "probe-"


def check(root: str, options: Sequence[str] = ()) -> None:
    """Mount small overlays in ``root``, with ``options`` of the configuration.

    :raises Skip: the kernel, the file system, missing privileges or an option stand in the way; says which.
    """
    _take_down(root)
    failure = _failure(root, options)
    if failure is None:
        return
    plain = _failure(root, ()) if options else failure
    if plain is None:
        raise Skip(
            f"overlayfs works on {root}, but not with its mount_options {', '.join(options)}: {failure}",
            hint="change mount_options of io.containerd.snapshotter.v1.overlayfs; the kernel's log says what it does not like",
        ) from failure
    raise Skip(
        f"overlayfs does not work on {root}: {plain}",
        hint="it needs root, a kernel with overlay, and a file system that can be its upper layer (ext4, xfs, btrfs, tmpfs);"
        " root_path may be on another one, and the native snapshotter works everywhere",
    ) from plain


def _take_down(root: str) -> None:
    """What a daemon left here that was killed while it looked."""
    for path in glob.glob(os.path.join(glob.escape(root), f"{_SCRATCH}*")):
        unmount_left(path)
        remove_tree(path)


def _failure(root: str, options: Sequence[str]) -> ContainerdError | None:
    """Of an overlay with two lower layers, as every container with an image of two layers has."""
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=root) as scratch:
        one, two, upper, work = (os.path.join(scratch, name) for name in ("one", "two", "upper", "work"))
        for directory in (one, two, upper, work):
            os.mkdir(directory)
        layers = (f"lowerdir={one}:{two}", f"upperdir={upper}", f"workdir={work}")
        try:
            with mounted((Mount("overlay", "overlay", options=(*layers, *options)),), scratch):
                return None
        except ContainerdError as exc:
            return exc


def supports_index() -> bool:
    """Whether this kernel knows the option ``index``; it must then be off, for a layer may be in several mounts."""
    return os.path.exists("/sys/module/overlay/parameters/index")
