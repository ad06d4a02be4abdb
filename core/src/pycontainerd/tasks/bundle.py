"""Bundles: the directory a task lives in, laid out as the Go containerd does it.

``<state>/<namespace>/<id>`` holds config.json, rootfs/, work (a link to ``<root>/<namespace>/<id>``) and what shims and
the daemon write beside them. A name with a leading dot is a bundle on its way out.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, Internal, InvalidArgument
from pycontainerd.contracts.types import AnyValue
from pycontainerd.sys.mount import MNT_DETACH, remove_tree, unmount_all

RUNTIME_FILE = "shim-binary-path"
BOOTSTRAP_FILE = "bootstrap.json"
ADDRESS_FILE = "address"


@attrs.frozen
class Bundle:
    """A bundle that exists, or did."""

    namespace: str
    id: str
    path: str
    work: str

    @property
    def rootfs(self) -> str:
        return os.path.join(self.path, "rootfs")

    def file(self, name: str) -> str:
        """The path of a file in it."""
        return os.path.join(self.path, name)

    def read(self, name: str) -> str:
        """The text of a file in it, empty if there is none."""
        try:
            with open(self.file(name), encoding="utf-8", errors="replace") as file:
                return file.read(1 << 16)
        except FileNotFoundError:
            return ""

    def write(self, name: str, text: str) -> None:
        """Write a file in it, in one step."""
        aside = self.file(f".{name}")
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(aside, self.file(name))

    def is_empty(self) -> bool:
        """Whether it has no config: what a crash in the middle of `create` leaves."""
        return not os.path.exists(self.file("config.json"))

    def mounted(self) -> bool:
        """Whether something is mounted at its rootfs."""
        return os.path.ismount(self.rootfs)

    def delete(self) -> None:
        """Unmount and remove all of it. May block on the unmount; done already is no error.

        The rootfs must come away as an empty directory first, so that nothing is ever deleted through a mount.

        :raises ContainerdError: the rootfs cannot be unmounted.
        :raises OSError: something cannot be removed.
        """
        for path in (self.path, _hidden(self.path)):
            rootfs = os.path.join(path, "rootfs")
            if os.path.isdir(rootfs):
                _unmount(rootfs)
                _drop(rootfs)
        for path in (self.path, self.work):
            with contextlib.suppress(FileNotFoundError):
                _remove(_hidden(path))
                os.rename(path, _hidden(path))
            _remove(_hidden(path))


def _unmount(rootfs: str) -> None:
    try:
        unmount_all(rootfs)
    except FailedPrecondition:
        # Someone looks in from outside. The container has ended: its mount goes as soon as that one has.
        unmount_all(rootfs, MNT_DETACH)


def _drop(rootfs: str) -> None:
    """Remove the directory that was mounted on. A runtime may have made mount points in it: those are only deleted
    where nothing is mounted any more."""
    try:
        os.rmdir(rootfs)
    except OSError:
        remove_tree(rootfs)


def _hidden(path: str) -> str:
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def at(root: str, state: str, namespace: str, id: str) -> Bundle:  # noqa: A002
    """The bundle of a task, whether it exists or not."""
    return Bundle(namespace, id, os.path.join(state, namespace, id), os.path.join(root, namespace, id))


def create(root: str, state: str, namespace: str, id: str, spec: AnyValue | None) -> Bundle:  # noqa: A002
    """Make the bundle of a new task; on failure nothing of it is left.

    :raises AlreadyExists: its directory is there.
    :raises InvalidArgument: the spec is not a JSON object.
    """
    bundle = at(root, state, namespace, id)
    config = _spec(id, spec)
    os.makedirs(os.path.dirname(bundle.path), mode=0o711, exist_ok=True)
    os.makedirs(os.path.dirname(bundle.work), mode=0o711, exist_ok=True)
    try:
        os.mkdir(bundle.path, 0o700)
    except FileExistsError:
        raise AlreadyExists(f"cannot create task {id!r}: its bundle {bundle.path} exists") from None
    try:
        _fill(bundle, config, b"" if spec is None else spec.value)
    except OSError as exc:
        bundle.delete()
        raise Internal(f"cannot make bundle {bundle.path}: {exc}") from exc
    return bundle


def _spec(id: str, spec: AnyValue | None) -> Mapping[str, Any]:  # noqa: A002
    if spec is None or not spec.value:
        return {}
    try:
        config = json.loads(spec.value)
    except ValueError as exc:
        raise InvalidArgument(f"cannot create task {id!r}: its spec is not JSON: {exc}") from exc
    if not isinstance(config, dict):
        raise InvalidArgument(f"cannot create task {id!r}: its spec is not a JSON object")
    return config


def _fill(bundle: Bundle, config: Mapping[str, Any], spec: bytes) -> None:
    os.mkdir(bundle.rootfs, 0o711)
    group = _remapped_root(config)
    if group is not None:
        # A user namespace's root must be able to pass through, nobody else.
        os.chown(bundle.path, -1, group)
        os.chmod(bundle.path, 0o710)
    _remove(bundle.work)
    os.mkdir(bundle.work, 0o711)
    os.symlink(bundle.work, bundle.file("work"))
    with open(bundle.file("config.json"), "wb") as file:
        file.write(spec)


def _remapped_root(config: Mapping[str, Any]) -> int | None:
    """The host's id of the container's root group, if the container has a user namespace of its own."""
    linux = config.get("linux")
    mappings = linux.get("gidMappings") if isinstance(linux, dict) else None
    for mapping in mappings or ():
        if isinstance(mapping, dict) and mapping.get("containerID") == 0 and isinstance(mapping.get("hostID"), int):
            return int(mapping["hostID"])
    return None


def scan(root: str, state: str) -> Iterator[Bundle]:
    """Every bundle below ``state``. What was on its way out is removed."""
    for namespace in _directories(state):
        for name in _directories(os.path.join(state, namespace)):
            bundle = at(root, state, namespace, name.removeprefix("."))
            if name.startswith("."):
                if not os.path.isdir(bundle.path):
                    bundle.delete()
            else:
                yield bundle


def orphans(root: str, state: str) -> Iterator[str]:
    """Hide working directories that no bundle belongs to, as a reboot leaves them; gives what is to be removed."""
    for namespace in _directories(root):
        for name in _directories(os.path.join(root, namespace)):
            path = os.path.join(root, namespace, name)
            if name.startswith("."):
                yield path
            elif not os.path.isdir(os.path.join(state, namespace, name)):
                _remove(_hidden(path))
                os.rename(path, _hidden(path))
                yield _hidden(path)


def remove(paths: Iterable[str]) -> None:
    """Remove what `orphans` gave."""
    for path in paths:
        _remove(path)


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
