"""Unpacks images: each layer becomes a committed snapshot named by its chainID.

Whatever happens, no half-made snapshot stays: an extraction that fails is removed, one that another process or caller
finished first is taken as it is.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

import attrs

from pycontainerd.contracts import gclabels, media_types
from pycontainerd.contracts.content import ContentService, ContentStore
from pycontainerd.contracts.diff import DiffService
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, DataLoss, InvalidArgument
from pycontainerd.contracts.locks import KeyedLocks
from pycontainerd.contracts.snapshots import SnapshotService, Snapshotter
from pycontainerd.contracts.types import Descriptor, Mount, Platform, Scope
from pycontainerd.contracts.unpack import LayerProgress
from pycontainerd.sys.mountopts import is_read_only

from .chain import chain_ids
from .images import read_config, select

LABEL_REF = "containerd.io/snapshot.ref"
LABEL_DIFF_ID = "containerd.io/snapshot/diff-id"
LABEL_PARENT = "containerd.io/snapshot/parent-chain-id"
_INHERITED = "containerd.io/snapshot/"
_PREPARE_TRIES = 3

Progress = Callable[[LayerProgress], None]


@attrs.frozen
class Layer:
    """One layer of an image, and the stack it makes with those below."""

    descriptor: Descriptor
    diff_id: str
    chain_id: str
    parent: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its snapshot: those that the descriptor's annotations have for snapshotters, and who it is."""
        labels = {
            key: value
            for key, value in self.descriptor.annotations.items()
            if key.startswith(_INHERITED) or key == LABEL_REF
        }
        labels |= {LABEL_REF: self.chain_id, LABEL_DIFF_ID: self.diff_id}
        return labels | ({LABEL_PARENT: self.parent} if self.parent else {})


class Unpacker:
    """`contracts.unpack.Unpacker`. Thread-safe; two callers that want one layer do the work once."""

    def __init__(self, content: ContentService, snapshots: SnapshotService, diff: DiffService) -> None:
        self._content = content
        self._snapshots = snapshots
        self._diff = diff
        self._locks = KeyedLocks()

    def unpack(
        self,
        scope: Scope,
        target: Descriptor,
        *,
        snapshotter: str = "",
        platform: Platform | None = None,
        progress: Progress | None = None,
        wait: Callable[[Descriptor], None] | None = None,
    ) -> str:
        name = snapshotter or self._snapshots.names()[0]
        backend = self._snapshots.scoped(scope, name)
        content = self._content.scoped(scope)
        _, manifest = select(content, target, platform)
        layers = self.layers(content, manifest.config, manifest.layers)
        if not layers:
            return ""
        report = progress or (lambda _: None)
        for layer in layers:
            report(LayerProgress(layer.descriptor, "waiting"))
        for layer in layers:
            if wait is not None:
                wait(layer.descriptor)  # before the lock: others may have the layer already
            with self._locks.hold((scope.namespace, name, layer.chain_id)):
                held = partial(self._snapshots.held, scope, name, layer.chain_id)
                state = self._layer(content, backend, layer, held, report)
            report(LayerProgress(layer.descriptor, state))
        self._snapshots.flush(name)  # most of it is on disk by now: that goes on while layers are extracted
        chain_id = layers[-1].chain_id
        label = gclabels.snapshot_label(name)
        content.update(manifest.config.digest, {label: chain_id}, (f"labels.{label}",))
        return chain_id

    @staticmethod
    def layers(content: ContentStore, config: Descriptor, layers: Sequence[Descriptor]) -> list[Layer]:
        """The layers in order; none for what is not an image (artifacts, attestations)."""
        found = [layer for layer in layers if media_types.is_layer(layer.media_type)]
        if not media_types.is_config(config.media_type) or all(_is_attestation(layer) for layer in layers):
            return []
        image = read_config(content, config)
        if image.rootfs_type not in ("", "layers"):
            return []
        for layer in layers:
            if media_types.compression(layer.media_type) is None:
                raise InvalidArgument(
                    f"layer {layer.digest} has the media type {layer.media_type!r}, which cannot be unpacked"
                )
        if len(found) != len(image.diff_ids):
            raise InvalidArgument(
                f"config {config.digest} has {len(image.diff_ids)} diff_ids for {len(found)} layers of its manifest"
            )
        chain = chain_ids(image.diff_ids)
        return [
            Layer(descriptor, diff_id, chain_id, parent)
            for descriptor, diff_id, chain_id, parent in zip(found, image.diff_ids, chain, ["", *chain], strict=False)
        ]

    def _layer(
        self, content: ContentStore, backend: Snapshotter, layer: Layer, held: Callable[[], bool], report: Progress
    ) -> str:
        """Make the snapshot of one layer, its parent being there; how that ended.

        ``held`` says whether it is there already, and has it held.
        """
        if held():
            return "exists"
        prepared = _prepare(backend, layer, held)
        if prepared is None:
            return "exists"
        key, mounts = prepared
        # A snapshotter that has the content already hands out what cannot be written: only the commit is left.
        staged = bool(mounts) and is_read_only(mounts[-1])
        try:
            if not staged:
                report(LayerProgress(layer.descriptor, "extracting"))
                self._apply(content, layer, mounts)
            backend.commit(layer.chain_id, key, layer.labels)
        except AlreadyExists:
            backend.remove(key)
            if not held():  # it came and went while the layer was extracted
                raise
            return "exists"
        except BaseException as exc:
            _abandon(backend, key, exc)
            raise
        if not staged:
            label = gclabels.UNCOMPRESSED
            content.update(layer.descriptor.digest, {label: layer.diff_id}, (f"labels.{label}",))
        return "done"

    def _apply(self, content: ContentStore, layer: Layer, mounts: Sequence[Mount]) -> None:
        applied = self._diff.apply(content, layer.descriptor, mounts, sync=False)  # one sync for all, see `unpack`
        if applied.digest != layer.diff_id:
            raise DataLoss(
                f"layer {layer.descriptor.digest} unpacks to {applied.digest}, the image's config says {layer.diff_id}"
            )


def _is_attestation(layer: Descriptor) -> bool:
    """What build tools say of an image, in a manifest that looks like one."""
    return layer.media_type.startswith("application/vnd.in-toto")


def _prepare(backend: Snapshotter, layer: Layer, held: Callable[[], bool]) -> tuple[str, Sequence[Mount]] | None:
    """An active snapshot to extract into; None when meanwhile the layer is there."""
    for attempt in range(_PREPARE_TRIES):
        # The form of the key is the Go containerd's; clients list and clean by it.
        key = f"extract-{time.time_ns() % 1_000_000_000}-{secrets.token_urlsafe(3)} {layer.chain_id}"
        try:
            return key, backend.prepare(key, layer.parent, layer.labels)
        except AlreadyExists:
            if held():
                return None
            if attempt == _PREPARE_TRIES - 1:
                raise
    return None


def _abandon(backend: Snapshotter, key: str, exc: BaseException) -> None:
    """Remove the snapshot of a failed extraction. Its own failure must not hide the first."""
    try:
        backend.remove(key)
    except ContainerdError as second:
        exc.add_note(f"and removing snapshot {key!r} failed too: {second}")
