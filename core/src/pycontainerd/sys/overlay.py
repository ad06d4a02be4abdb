"""Overlay mounts with more layers than fit into the one page of options that mount(2) takes.

The new mount API sets layers one by one (``lowerdir+``, Linux 6.7). Where it does not, the options are made shorter by
mounting from a thread whose working directory is the directory that the layers have in common.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence

from . import idmap, libc, mountapi
from .mountflags import (
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_STRICTATIME,
    MountPlan,
)

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MNT_DETACH = 2
_DIRECTORIES = ("lowerdir", "upperdir", "workdir")
_ATTRIBUTES = {
    MS_RDONLY: mountapi.MOUNT_ATTR_RDONLY,
    MS_NOSUID: mountapi.MOUNT_ATTR_NOSUID,
    MS_NODEV: mountapi.MOUNT_ATTR_NODEV,
    MS_NOEXEC: mountapi.MOUNT_ATTR_NOEXEC,
    MS_NOATIME: mountapi.MOUNT_ATTR_NOATIME,
    MS_STRICTATIME: mountapi.MOUNT_ATTR_STRICTATIME,
    MS_NODIRATIME: mountapi.MOUNT_ATTR_NODIRATIME,
}


def split_layers(value: str) -> list[str]:
    r"""The directories of a ``lowerdir=`` option: separated by ``:``; ``\:`` is a colon in a name."""
    layers = [""]
    pairs = iter(value)
    for character in pairs:
        if character == "\\":
            layers[-1] += next(pairs, "")
        elif character == ":":
            layers.append("")
        else:
            layers[-1] += character
    return layers


def mount_long(source: str, target: str, plan: MountPlan) -> None:
    """Mount an overlay whose options are longer than a page.

    :raises OSError: E2BIG when neither way can express it, else what the kernel says.
    """
    values = [option.partition("=")[::2] for option in plan.data]
    try:
        _mount_by_parts(source, target, plan.flags, values)
    except OSError as exc:
        if exc.errno not in (errno.ENOSYS, errno.EINVAL, errno.E2BIG):
            raise
        _mount_from_common(source, target, plan, values)


def _mount_by_parts(source: str, target: str, flags: int, values: Sequence[Sequence[str]]) -> None:
    with _closing(mountapi.fsopen("overlay")) as context:
        mountapi.fsconfig_string(context, "source", source)
        for key, value in values:
            if key == "lowerdir":
                for layer in split_layers(value):
                    _set(context, "lowerdir+", layer)
            elif value:
                _set(context, key, value)
            else:
                mountapi.fsconfig_flag(context, key)
        if flags & MS_RDONLY:
            mountapi.fsconfig_flag(context, "ro")
        mountapi.fsconfig_create(context)
        attributes = sum(attribute for flag, attribute in _ATTRIBUTES.items() if flags & flag)
        with _closing(mountapi.fsmount(context, attributes)) as mount:
            mountapi.move_mount(mount, target)


def _set(context: int, key: str, value: str) -> None:
    if len(os.fsencode(value)) > mountapi.FSCONFIG_MAX_STRING:
        raise OSError(errno.E2BIG, f"{key}={value} is too long for fsconfig")
    mountapi.fsconfig_string(context, key, value)


def _mount_from_common(source: str, target: str, plan: MountPlan, values: Sequence[Sequence[str]]) -> None:
    paths = [path for key, value in values if key == "lowerdir" for path in split_layers(value)]
    common = os.path.commonpath(paths) if paths and all(map(os.path.isabs, paths)) else "/"

    def shorter(value: str) -> str:
        return ":".join(min(path, os.path.relpath(path, common), key=len) for path in value.split(":"))

    options = [
        f"{key}={shorter(value)}" if key in _DIRECTORIES else "=".join(filter(None, (key, value)))
        for key, value in values
    ]
    data = ",".join(options)
    if len(os.fsencode(data)) >= _PAGE - 1:
        raise OSError(errno.E2BIG, f"{len(paths)} overlay directories take {len(data)} bytes of options")
    _in_directory(common, source, os.path.abspath(target), plan.flags, data)


def _in_directory(directory: str, source: str, target: str, flags: int, data: str) -> None:
    """mount(2) from ``directory``, in a thread of its own so that the process keeps its working directory."""
    failure: list[OSError] = []

    def run() -> None:
        try:
            libc.unshare(libc.CLONE_FS)
            os.chdir(directory)
            libc.mount(source, target, "overlay", flags, data)
        except OSError as exc:
            failure.append(exc)

    thread = threading.Thread(target=run, name="mount")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


@contextlib.contextmanager
def mapped_layers(plan: MountPlan, mapping: idmap.IdMap) -> Iterator[MountPlan]:
    """The plan with its lower layers seen through a mount with mapped owners, which is there for the ``with``.

    The overlay keeps what it needs of it. The mount is read-only and its point is removed by rmdir only, so whatever goes
    wrong, nothing is deleted through it.
    """
    index = next((index for index, option in enumerate(plan.data) if option.startswith("lowerdir=")), -1)
    if index < 0:
        raise OSError(errno.EINVAL, "an overlay with mapped owners needs a lowerdir")
    layers = split_layers(plan.data[index].removeprefix("lowerdir="))
    common = os.path.commonpath(layers)
    point = tempfile.mkdtemp(prefix="containerd-idmap")
    try:
        with _closing(idmap.clone(common, mapping, read_only=True)) as fd:
            mountapi.move_mount(fd, point)
        try:
            moved = (os.path.normpath(os.path.join(point, os.path.relpath(layer, common))) for layer in layers)
            mapped = "lowerdir=" + ":".join(map(_escaped, moved))
            data = (*plan.data[:index], mapped, *plan.data[index + 1 :])
            yield MountPlan(plan.flags, plan.propagation, data)
        finally:
            libc.umount2(point, _MNT_DETACH)
    finally:
        os.rmdir(point)


def _escaped(layer: str) -> str:
    return layer.replace("\\", "\\\\").replace(":", "\\:")


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
