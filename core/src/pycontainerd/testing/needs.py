"""What a test needs of its machine: where that is missing the test is skipped, but under CI it fails."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "crun": "crun",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "openssl": "openssl",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "zfs": "zfs-fuse",
    "zpool": "zfs-fuse",
    "zfs-fuse": "zfs-fuse",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def root() -> None:
    """Skip (under CI: fail) unless this process may mount and make namespaces."""
    if os.geteuid() != 0:
        missing("root is needed for mounts, namespaces and cgroups")


def command(name: str) -> str:
    """The path of the system's executable ``name``; skips (under CI: fails) where there is none."""
    # Not the PATH of this process: a virtual environment has a ctr and a containerd of its own.
    found = shutil.which(name, path=PATH)
    if found is None:
        missing(f"{name} is not installed (Debian's package {PACKAGES.get(name, name)}): packaging/setup.sh test")
    return found


def missing(what: str) -> NoReturn:
    """Skip for want of ``what``; under CI fail."""
    import pytest

    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)
