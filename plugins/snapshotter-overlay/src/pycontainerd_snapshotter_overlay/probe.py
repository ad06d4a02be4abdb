"""Whether overlayfs works on a directory, found out by using it."""

from __future__ import annotations

import os
import tempfile

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.types import Mount
from pycontainerd.kernel import Skip
from pycontainerd.sys.mount import mounted


def check(root: str) -> None:
    """Mount a small overlay in ``root``.

    :raises Skip: the kernel, the file system or missing privileges stand in the way; says which.
    """
    with tempfile.TemporaryDirectory(prefix="probe-", dir=root) as scratch:
        lower, upper, work = (os.path.join(scratch, name) for name in ("lower", "upper", "work"))
        for directory in (lower, upper, work):
            os.mkdir(directory)
        trial = Mount("overlay", "overlay", options=(f"lowerdir={lower}", f"upperdir={upper}", f"workdir={work}"))
        try:
            with mounted((trial,), scratch):
                pass
        except ContainerdError as exc:
            raise Skip(
                f"overlayfs does not work on {root}: {exc}",
                hint="it needs root, a kernel with overlay, and a file system that can be its upper layer (ext4, xfs)",
            ) from exc


def supports_index() -> bool:
    """Whether this kernel knows the option ``index``; it must then be off, for a layer may be in several mounts."""
    return os.path.exists("/sys/module/overlay/parameters/index")
