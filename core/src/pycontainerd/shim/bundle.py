"""A container's bundle: the directory with its spec, its root and what the shim keeps about it."""

from __future__ import annotations

import os
import stat
from types import SimpleNamespace

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.sys.mountcalls import mount_all, translate

from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pycontainerd.sys.mountcalls import Mount


def check_bundle(bundle: str) -> str:
    """``bundle`` if it can be one.

    :raises InvalidArgument: it is no absolute path, or no directory.
    :raises NotFound: it is not there.
    """
    if not bundle.startswith("/"):
        raise InvalidArgument(f"the bundle {bundle!r} is not an absolute path")
    try:
        mode = os.lstat(bundle).st_mode
        os.stat(f"{bundle}/config.json")
    except OSError as exc:
        raise translate(exc, f"open the bundle {bundle}") from exc
    if not stat.S_ISDIR(mode):
        raise InvalidArgument(f"the bundle {bundle} is not a directory")
    return bundle


def mount_rootfs(mounts: Sequence[dict[str, Any]], bundle: str) -> str:
    """Mount the container's root in its bundle; the mount point. Blocks for as long as the kernel takes, which for
    overlays and binds is less than a thread would cost.

    :raises ContainerdError: it cannot be mounted; nothing stays mounted.
    """
    rootfs = f"{bundle}/rootfs"
    try:
        os.mkdir(rootfs, 0o711)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(rootfs).st_mode):
            raise InvalidArgument(f"{rootfs} is not a directory") from None
    mount_all(tuple(map(_as_mount, mounts)), rootfs)
    return rootfs


def _as_mount(fields: dict[str, Any]) -> Mount:
    return SimpleNamespace(**fields)


def remember_options(bundle: str, type_url: str, value: bytes) -> None:
    """Keep the runtime's options for who cleans up should this process die."""
    files.write_private(f"{bundle}/options.pb", f"{type_url}\n".encode() + value)


def remembered_options(bundle: str) -> tuple[str, bytes]:
    """What was kept, type URL and value; empty ones if there was nothing."""
    try:
        url, _, value = files.read(f"{bundle}/options.pb").partition(b"\n")
    except FileNotFoundError:
        return "", b""
    return url.decode(), value


def read_spec(bundle: str) -> dict[str, Any]:
    """The OCI spec; empty if it cannot be read."""
    import json

    try:
        with open(f"{bundle}/config.json", "rb") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def exec_spec(spec: bytes, terminal: bool) -> bytes:
    """The OCI process of an exec, with ``terminal`` as the client wants it.

    :raises InvalidArgument: it is not a JSON object.
    """
    import json

    try:
        process = json.loads(spec)
    except ValueError as exc:
        raise InvalidArgument(f"the spec of the process is not JSON: {exc}") from exc
    if not isinstance(process, dict):
        raise InvalidArgument("the spec of the process is not a JSON object")
    process["terminal"] = terminal
    return json.dumps(process).encode()
