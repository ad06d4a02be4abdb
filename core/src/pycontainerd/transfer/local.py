"""``io.containerd.transfer.v1.local``: what moves images. Belongs to the event loop; the work is done in a pool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pycontainerd.contracts import media_types
from pycontainerd.contracts.content import ContentService, ContentStore
from pycontainerd.contracts.errors import Aborted, InvalidArgument, NotFound
from pycontainerd.contracts.hooks import Candidate
from pycontainerd.contracts.images import Image, ImageService
from pycontainerd.contracts.leases import LeaseService
from pycontainerd.contracts.manifests import Index
from pycontainerd.contracts.types import Descriptor, Scope, now
from pycontainerd.contracts.unpack import LayerProgress, Unpacker

from .contents import MAX_NESTING, Choice, document, is_document, known_platform, label_children
from .limits import TransferConfig
from .progress import Event, Tell, Tracker
from .verify import Verifiers
from .waiting import shielded

if TYPE_CHECKING:  # each kind of transfer is imported by the first of its kind, not by the start of the daemon
    from pycontainerd.registry.client import Registry

    from .arrivals import Arrivals
    from .bytestreams import Receiver
    from .export import ExportOptions
    from .naming import Store
    from .pull import Puller

T = TypeVar("T")
_END: Any = object()
_LEASE = timedelta(hours=24)
WORKERS = 16


class LocalTransfer:
    """Pulls, pushes, imports, exports and tags. Errors are of the family; a failed transfer leaves no image and no ingest."""

    def __init__(
        self,
        content: ContentService,
        images: ImageService,
        leases: LeaseService,
        unpacker: Unpacker,
        config: TransferConfig,
        verifiers: Verifiers,
    ) -> None:
        self._verifiers = verifiers
        self._content = content
        self._images = images
        self._leases = leases
        self._unpacker = unpacker
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="transfer")
        self._unpack_pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="unpack")
        self.configure(config)

    def configure(self, config: TransferConfig) -> None:
        """Take other limits; transfers under way end under those they began with. On the event loop."""
        self.config = config
        self._downloads = asyncio.Semaphore(max(1, config.max_concurrent_downloads))
        self._uploads = asyncio.Semaphore(max(1, config.max_concurrent_uploaded_layers))
        # 1 is the Go containerd's default and means what it means there: no limit over images.
        unpacks = config.max_concurrent_unpacks
        self._unpacks = asyncio.Semaphore(unpacks if unpacks > 1 else WORKERS)

    def close(self) -> None:
        for pool in (self._pool, self._unpack_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def pull(self, scope: Scope, registry: Registry, store: Store, tell: Tell) -> list[Image]:
        """Pull what ``registry`` refers to, unpack it where that is asked for, and name it."""
        from .pull import Puller

        name = str(registry.reference)
        what = f"OCI Registry ({name})"
        tell(Event(f"Resolving from {what}"))
        target = await registry.resolve()
        await self._verifiers.verify(Candidate(scope.namespace, name, target), registry)
        tell(Event(f"Pulling from {what}"))
        tell(Event("fetching image content", name, descriptor=target))
        async with self._leased(scope) as scoped:
            content = self._content.scoped(scoped)
            tracker = Tracker(tell, name, "downloading")
            async with tracker.reporting():
                puller = Puller(registry, content, store.choice, self._pool, self._downloads, tracker)
                await self._pull(scoped, puller, target, store, tracker)
            saved = await self._save(scoped, store, [(target, False)], tell)
        tell(Event(f"Completed pull from {what}"))
        return saved

    async def _pull(self, scope: Scope, puller: Puller, target: Descriptor, store: Store, tracker: Tracker) -> None:
        """Fetch and unpack beside each other. Whichever fails ends the other; then nothing runs any more."""
        fetching = asyncio.create_task(puller.run(target))
        described = asyncio.create_task(puller.arrivals.described.wait())
        try:
            await asyncio.wait({fetching, described}, return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done() or fetching.exception() is None:
                await self._unpack(scope, [target], store, tracker, puller.arrivals)
            await fetching
        except Aborted:
            await fetching  # its error is the cause
            raise
        finally:
            puller.arrivals.end(failed=not fetching.done())
            fetching.cancel()
            described.cancel()
            await shielded(asyncio.gather(fetching, described, return_exceptions=True))

    async def push(self, scope: Scope, store: Store, registry: Registry, tell: Tell) -> None:
        """Push the image that ``store`` names."""
        from .push import Pusher

        what = f"OCI Registry ({registry.reference})"
        async with self._leased(scope) as scoped:
            image = await self._call(self._images.scoped(scoped).get, store.name)
            tell(Event(f"Pushing to {what}"))
            tell(Event("pushing content", image.name, descriptor=image.target))
            tracker = Tracker(tell, image.name, "uploading")
            async with tracker.reporting():
                content = self._content.scoped(scoped)
                await Pusher(registry, content, store.choice, self._pool, self._uploads, tracker).run(image.target)
        tell(Event("pushed content", image.name, descriptor=image.target))
        tell(Event(f"Completed push to {what}", descriptor=image.target))

    async def tag(self, scope: Scope, source: Store, target: Store) -> list[Image]:
        """Give the image that ``source`` names the names of ``target``."""
        async with self._leased(scope) as scoped:
            image = await self._call(self._images.scoped(scoped).get, source.name)
            return await self._save(scoped, target, [(image.target, False)], lambda _: None)

    async def import_archive(
        self, scope: Scope, stream: Any, store: Store, tell: Tell, *, compress: bool = False
    ) -> list[Image]:
        """Import the archive that comes over ``stream``."""
        from .archive import import_archive
        from .bytestreams import Receiver

        receiver = Receiver(stream)
        carrier = asyncio.create_task(receiver.run())
        try:
            async with self._leased(scope) as scoped:
                tell(Event("Importing"))
                content = self._content.scoped(scoped)
                index = await self._to_end(
                    self._call(lambda: import_archive(content, receiver, compress=compress)), receiver
                )
                listed = await self._call(self._adopt, content, index, store)
                tracker = Tracker(tell, "import", "importing")
                named = [one for one in listed if known_platform(one) and store.choice.matches(one)]
                await self._unpack(scoped, named, store, tracker)
                targets = [(index, False), *((one, True) for one in listed)]
                saved = await self._save(scoped, store, targets, tell)
                if not saved:
                    raise NotFound("the archive names no image", hint="give a name or a prefix for names")
        finally:
            carrier.cancel()
            await asyncio.gather(carrier, return_exceptions=True)
        tell(Event("Completed import"))
        return saved

    async def export(self, scope: Scope, store: Store, stream: Any, options: ExportOptions, tell: Tell) -> None:
        """Send an archive of the images that ``store`` names over ``stream``."""
        from .bytestreams import Sender

        async with self._leased(scope) as scoped:
            tell(Event("Exporting"))
            pieces = await self._call(self._archive, scoped, store, options)
            sender = Sender(stream)
            try:
                while (data := await self._call(next, pieces, _END)) is not _END:
                    await sender.send(data)
            finally:
                await self._call(pieces.close)
        tell(Event("Completed export"))

    def _archive(self, scope: Scope, store: Store, options: ExportOptions) -> Any:
        from .export import Archive

        archive = Archive(self._content.scoped(scope), options)
        for image in store.lookup(self._images.scoped(scope)):
            archive.add(image)
        return archive.pieces()

    def _adopt(self, content: ContentStore, index: Descriptor, store: Store) -> list[Descriptor]:
        """Label everything that an imported index leads to; returns what it lists and has.

        :raises InvalidArgument: something it lists is no image.
        :raises NotFound: a manifest that is wanted lacks its config or a layer.
        """
        listed = document(content, index).children
        label_children(content, index, listed)
        for child in listed:
            if not is_document(child):
                raise InvalidArgument(
                    f"the archive's index lists {child.digest} of type {child.media_type!r}, which is no image"
                )
        present = [child for child in listed if _present(content, child)]
        if listed and not present:
            raise NotFound(f"the archive has none of the {len(listed)} images that its index lists")
        unserved: list[NotFound] = []
        for child in present:
            children = document(content, child).children
            if not store.choice.serves(child, children):
                unserved.append(store.choice.missing(child, children))
            _label_tree(content, child, store.choice, 1)
        if unserved and len(unserved) == len(present):
            raise unserved[0]
        return present

    async def _unpack(
        self,
        scope: Scope,
        targets: Sequence[Descriptor],
        store: Store,
        tracker: Tracker,
        arrivals: Arrivals | None = None,
    ) -> None:
        done: set[tuple[str, str]] = set()

        def report(progress: LayerProgress) -> None:
            tracker.layer(progress.layer, progress.state)

        for config in store.unpacks:
            for target in targets:
                if (target.digest, config.snapshotter) in done or not known_platform(target):
                    continue
                done.add((target.digest, config.snapshotter))
                work = partial(
                    self._unpacker.unpack,
                    scope,
                    target,
                    snapshotter=config.snapshotter,
                    platform=config.platform,
                    progress=report,
                    wait=arrivals.wait if arrivals is not None else None,
                )
                async with self._unpacks:
                    # A pool of its own: who waits there for layers must not keep them from being fetched.
                    loop = asyncio.get_running_loop()
                    await self._to_end(loop.run_in_executor(self._unpack_pool, work), arrivals=arrivals)

    async def _save(
        self, scope: Scope, store: Store, targets: Sequence[tuple[Descriptor, bool]], tell: Tell
    ) -> list[Image]:
        images = self._images.scoped(scope)
        saved: list[Image] = []
        for target, from_archive in targets:
            for image in await self._call(lambda t=target, f=from_archive: store.save(images, t, from_archive=f)):
                tell(Event("saved", image.name, descriptor=image.target))
                saved.append(image)
        return saved

    @staticmethod
    async def _to_end(work: Any, receiver: Receiver | None = None, arrivals: Arrivals | None = None) -> Any:
        """The result of ``work`` in the pool. When we are cancelled it is waited for: its clean-up needs our lease."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if receiver is not None:
                receiver.cancel()
            if arrivals is not None:
                arrivals.end(failed=True)
            with contextlib.suppress(Exception):
                await shielded(task)
            raise

    @contextlib.asynccontextmanager
    async def _leased(self, scope: Scope) -> AsyncIterator[Scope]:
        """``scope`` under its own lease, or one that lives as long as the block."""
        if scope.lease:
            yield scope
            return
        leases = self._leases.scoped(scope.namespace)
        expire = f"{now() + _LEASE:%Y-%m-%dT%H:%M:%SZ}"
        lease = await self._call(lambda: leases.create(labels={"containerd.io/gc.expire": expire}))
        try:
            yield Scope(scope.namespace, lease.id)
        finally:
            await shielded(self._call(leases.delete, lease.id))


def _present(content: ContentStore, target: Descriptor) -> bool:
    try:
        content.info(target.digest)
    except NotFound:
        return False
    return True


def _label_tree(content: ContentStore, target: Descriptor, choice: Choice, depth: int) -> None:
    if depth > MAX_NESTING:
        raise InvalidArgument(f"indexes are nested more than {MAX_NESTING} deep")
    found = document(content, target)
    label_children(content, target, found.children)
    wanted = choice.matches(target)
    for child in choice.of(target, found.children):
        if isinstance(found, Index):
            if is_document(child) and _present(content, child):  # archives may leave platforms out
                _label_tree(content, child, choice, depth + 1)
        elif wanted and not (media_types.is_nondistributable(child.media_type) and child.urls):
            content.info(child.digest)
