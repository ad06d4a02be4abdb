"""After a power cut: layers that stay because something is based on them, and may be damaged, are looked at.

Each is unpacked once more beside the one that is there, from the content that the store still has, and compared. One that
is whole is trusted again; of one that is not, the log says what is wrong and what to do.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from datetime import timedelta

import attrs

from pycontainerd.contracts.content import ContentService, ContentStore
from pycontainerd.contracts.diff import DiffService
from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.images import ImageService
from pycontainerd.contracts.leases import LeaseService
from pycontainerd.contracts.snapshots import SnapshotService, Snapshotter, Suspect
from pycontainerd.contracts.types import Descriptor, Mount, Scope, now
from pycontainerd.sys.compare import differences, own_directory
from pycontainerd.sys.mount import mounted

from .images import select
from .unpacker import Layer, Unpacker

log = logging.getLogger("containerd.unpack")

EXPIRE = "containerd.io/gc.expire"
LIFETIME = timedelta(hours=1)  # of the lease on what is unpacked to compare


@attrs.frozen
class Judge:
    """Looks at what `SnapshotService.suspects` lists."""

    content: ContentService
    snapshots: SnapshotService
    diff: DiffService
    images: ImageService
    leases: LeaseService

    def run(self) -> None:
        """Look at all of them. Whatever happens to one is said, and the next one's turn comes."""
        for suspect in self._suspects():
            try:
                self._judge(suspect)
            except (ContainerdError, OSError, ValueError) as exc:
                _warn("a layer that a power cut may have damaged cannot be checked", suspect, error=str(exc))

    def _suspects(self) -> Sequence[Suspect]:
        """Those that are left when what can be made anew has been removed, which the first use of a snapshotter does."""
        for name in {suspect.snapshotter for suspect in self.snapshots.suspects()}:
            try:
                self.snapshots.scoped(Scope("default"), name)
            except ContainerdError as exc:
                log.warning("snapshots of %s cannot be checked: %s", name, exc)
        return self.snapshots.suspects()

    def _judge(self, suspect: Suspect) -> None:
        found = self._layer(suspect)
        if found is None:
            _warn("a snapshot that a power cut may have damaged is no layer of an image that is here", suspect)
            return
        leases = self.leases.scoped(suspect.namespace)
        lease = leases.create(labels={EXPIRE: f"{now() + LIFETIME:%Y-%m-%dT%H:%M:%SZ}"})
        try:
            wrong = self._compare(Scope(suspect.namespace, lease.id), suspect, found)
        finally:
            leases.delete(lease.id)
        if not wrong:
            self.snapshots.trust(suspect)
            log.info("a layer that a power cut may have damaged is whole", extra={"fields": attrs.asdict(suspect)})
        else:
            what = "a power cut has damaged a layer; remove what is based on it, and `ctr images verify --repair`"
            _warn(what, suspect, damage="; ".join(wrong))

    def _layer(self, suspect: Suspect) -> Layer | None:
        """The layer that the snapshot was unpacked from."""
        scope = Scope(suspect.namespace)
        content = self.content.scoped(scope)
        for image in self.images.scoped(scope).list():
            for layer in _layers(content, image.target):
                if layer.chain_id == suspect.key:
                    return layer
        return None

    def _compare(self, scope: Scope, suspect: Suspect, layer: Layer) -> list[str]:
        backend, token = self.snapshots.scoped(scope, suspect.snapshotter), secrets.token_hex(6)
        fresh, view = f"verify-{token}", f"verify-view-{token}"
        made: list[str] = []
        try:
            wanted = backend.prepare(fresh, layer.parent)
            made.append(fresh)
            self.diff.apply(self.content.scoped(scope), layer.descriptor, wanted, sync=False)
            found = backend.view(view, layer.chain_id)
            made.append(view)
            return _differences(wanted, found)
        finally:
            _remove(backend, made)


def _layers(content: ContentStore, target: Descriptor) -> Iterator[Layer]:
    """The layers of an image for this machine; none where it is not all here."""
    try:
        _, manifest = select(content, target, None)
        yield from Unpacker.layers(content, manifest.config, manifest.layers)
    except (ContainerdError, ValueError):
        return


def _differences(wanted: Sequence[Mount], found: Sequence[Mount]) -> list[str]:
    one, other = own_directory(wanted), own_directory(found)
    if one and other:
        return differences(one, other)
    with mounted(wanted) as first, mounted(found, read_only_view=True) as second:
        return differences(first, second)


def _remove(backend: Snapshotter, keys: Sequence[str]) -> None:
    for key in keys:
        try:
            backend.remove(key)
        except ContainerdError as exc:
            log.warning("what was unpacked to compare is left to a collection: %s", exc)


def _warn(what: str, suspect: Suspect, **more: str) -> None:
    log.warning(what, extra={"fields": {**attrs.asdict(suspect), **more}})
