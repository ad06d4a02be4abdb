"""From the content store to a registry: blobs beside each other, then manifests, the named one last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from pycontainerd.contracts import media_types
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.contracts.types import Descriptor

from .contents import MAX_NESTING, Choice, chunks, document, is_document
from .progress import Tracker
from .pull import _first, repositories

if TYPE_CHECKING:
    from pycontainerd.registry.client import Registry

T = TypeVar("T")
_END: Any = object()


@attrs.define
class Pusher:
    """One push."""

    registry: Registry
    content: ContentStore
    choice: Choice
    pool: Executor
    slots: asyncio.Semaphore
    tracker: Tracker

    async def run(self, target: Descriptor) -> None:
        """:raises NotFound: something of the image is not in the content store."""
        documents: list[Descriptor] = []
        blobs: dict[str, Descriptor] = {}
        await self.call(self._collect, target, documents, blobs, 0)
        try:
            async with asyncio.TaskGroup() as group:
                for blob in blobs.values():
                    group.create_task(self._push(blob, False))
        except BaseExceptionGroup as failed:
            raise _first(failed) from None
        for one in documents:
            await self._push(one, one is target)

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *args)

    def _collect(
        self, target: Descriptor, documents: list[Descriptor], blobs: dict[str, Descriptor], depth: int
    ) -> None:
        """Children before parents. An index is pushed whole, so what it lists must be there unless it was not chosen."""
        if depth > MAX_NESTING:
            raise InvalidArgument(f"indexes are nested more than {MAX_NESTING} deep")
        children = self.choice.of(target, document(self.content, target).children)
        for child in children:
            if is_document(child):
                self._collect(child, documents, blobs, depth + 1)
            elif not media_types.is_nondistributable(child.media_type):
                blobs[child.digest] = child
        documents.append(target)

    async def _push(self, target: Descriptor, named: bool) -> None:
        self.tracker.add(target)
        async with self.slots:
            mount = ""
            if not is_document(target):
                labels: Mapping[str, str] = (await self.call(self.content.info, target.digest)).labels
                mount = self._mount(labels)
            sent = await self.registry.push(target, lambda: self._body(target), mount=mount, tag=named)
        self.tracker.complete(target, existed=not sent)

    def _mount(self, labels: Mapping[str, str]) -> str:
        """The repository of the same registry that is nearest by name and has the blob."""
        reference = self.registry.reference
        parts = reference.path.split("/")

        def shared(other: str) -> int:
            return sum(1 for ours, theirs in zip(parts, other.split("/"), strict=False) if ours == theirs)

        found = [item for item in repositories(labels, reference.host.partition(":")[0]) if item != reference.path]
        return max(found, key=shared, default="")

    async def _body(self, target: Descriptor) -> AsyncIterator[bytes]:
        try:
            pieces = chunks(self.content, target)
            sent = 0
            while (data := await self.call(next, pieces, _END)) is not _END:
                yield data
                sent += len(data)
                self.tracker.advanced(target, sent)
        except NotFound as exc:
            raise NotFound(f"cannot push {target.digest}: {exc.message}") from None
