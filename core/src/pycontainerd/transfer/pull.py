"""From a registry to the content store: manifests first, blobs beside each other. Belongs to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from pycontainerd.contracts import media_types
from pycontainerd.contracts.content import ContentStore, ContentWriter
from pycontainerd.contracts.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, Unavailable
from pycontainerd.contracts.types import Descriptor

from .arrivals import Arrivals
from .contents import MAX_NESTING, Choice, document, is_document, label_children, label_source
from .progress import Tracker, ref_key
from .waiting import shielded

if TYPE_CHECKING:
    from pycontainerd.registry.client import Registry

T = TypeVar("T")
_BUFFER = 1 << 20  # bytes handed to a worker thread at once
_BUSY = 60.0  # seconds without progress of another one who fetches the same blob


@attrs.define
class Puller:
    """One pull. ``slots`` bounds how many blobs are under way at once, over all pulls."""

    registry: Registry
    content: ContentStore
    choice: Choice
    pool: Executor
    slots: asyncio.Semaphore
    tracker: Tracker
    arrivals: Arrivals = attrs.Factory(Arrivals)

    async def run(self, target: Descriptor) -> None:
        """Fetch ``target`` and all of it that is wanted."""
        try:
            await self._fetch_tree(target, 0)
        except BaseException:
            self.arrivals.end(failed=True)
            raise
        self.arrivals.end(failed=False)

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *args)

    async def _fetch_tree(self, target: Descriptor, depth: int) -> None:
        if depth > MAX_NESTING:
            raise InvalidArgument(f"indexes are nested more than {MAX_NESTING} deep")
        if is_document(target) and target.size > media_types.MAX_MANIFEST:
            raise InvalidArgument(
                f"{target.media_type} {target.digest} is {target.size} bytes long, the limit is {media_types.MAX_MANIFEST}"
            )
        self.tracker.add(target)
        async with self.slots:
            await self._fetch(target)
        children: list[Descriptor] = []
        if is_document(target):
            children = await self.call(self._children, target, depth == 0)
            self.tracker.children(target, children)
        children = list({one.digest: one for one in children}.values())
        reference = self.registry.reference
        await self.call(label_source, self.content, target.digest, reference.host.partition(":")[0], reference.path)
        self.arrivals.expect(children)
        self.arrivals.arrived(target)
        try:
            async with asyncio.TaskGroup() as group:
                for child in children:
                    group.create_task(self._fetch_tree(child, depth + 1))
        except BaseExceptionGroup as failed:
            raise _first(failed) from None

    def _children(self, target: Descriptor, needed: bool) -> list[Descriptor]:
        children = document(self.content, target).children
        if needed and not self.choice.serves(target, children):
            raise self.choice.missing(target, children)
        label_children(self.content, target, children)
        return self.choice.of(target, children)

    async def _fetch(self, target: Descriptor) -> None:
        ref = ref_key(target)
        try:
            writer = await self._writer(ref, target)
        except AlreadyExists:
            self.tracker.complete(target, existed=True)
            return
        try:
            await self._copy(writer, target)
            await self.call(_commit, writer, target)
        except BaseException:
            await shielded(self.call(_abandon, self.content, writer, ref))
            raise
        self.tracker.complete(target)

    async def _writer(self, ref: str, target: Descriptor) -> ContentWriter:
        """The ingest; someone else who has it is waited for as long as it grows."""
        loop = asyncio.get_running_loop()
        offset, since = -1, loop.time()
        while True:
            try:
                return await self.call(lambda: self.content.writer(ref, total=target.size, expected=target.digest))
            except Unavailable:
                with contextlib.suppress(NotFound):
                    status = await self.call(self.content.status, ref)
                    if status.offset != offset:
                        offset, since = status.offset, loop.time()
                        self.tracker.advanced(target, offset)
                if loop.time() - since > _BUSY:
                    raise
                await asyncio.sleep(0.2)

    async def _copy(self, writer: ContentWriter, target: Descriptor) -> None:
        offset = (await self.call(writer.status)).offset
        if offset > target.size:
            await self.call(writer.truncate, 0)
            offset = 0
        buffer = bytearray()
        async with contextlib.aclosing(self.registry.fetch(target, offset)) as chunks:
            async for chunk in chunks:
                buffer += chunk
                if len(buffer) >= _BUFFER:
                    offset = await self.call(writer.write, bytes(buffer))
                    buffer.clear()
                    self.tracker.advanced(target, offset)
        if buffer:
            self.tracker.advanced(target, await self.call(writer.write, bytes(buffer)))


def _commit(writer: ContentWriter, target: Descriptor) -> None:
    digest = writer.digest()
    if digest != target.digest and digest.partition(":")[0] == target.digest.partition(":")[0]:
        raise DataLoss(f"the registry sent {digest} where {target.media_type} {target.digest} was asked for")
    with contextlib.suppress(AlreadyExists):
        writer.commit(target.size, target.digest)


def _abandon(content: ContentStore, writer: ContentWriter, ref: str) -> None:
    """Leave nothing of an ingest that failed."""
    writer.close()
    with contextlib.suppress(NotFound):
        content.abort(ref)


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure in a group of them; the others were cancelled or say the same."""
    exc: BaseException = failed
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def repositories(labels: Mapping[str, str], host: str) -> list[str]:
    """The repositories of ``host`` that a blob is known to be in, by its labels."""
    return [item for item in labels.get(f"containerd.io/distribution.source.{host}", "").split(",") if item]
