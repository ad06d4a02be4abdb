"""What a client is told while a transfer runs; events and names are those of the Go containerd."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import attrs

from pycontainerd.contracts import media_types
from pycontainerd.contracts.types import Descriptor

INTERVAL = 0.3  # seconds between two reports of bytes
_TAG = "org.opencontainers.image.ref.name"


@attrs.frozen
class Event:
    """One step: what happened to ``name``, which belongs to ``parents``. Sizes are in bytes."""

    event: str
    name: str = ""
    parents: Sequence[str] = ()
    progress: int = 0
    total: int = 0
    descriptor: Descriptor | None = None


Tell = Callable[[Event], None]


def ref_key(target: Descriptor) -> str:
    """The name of a blob in progress, which is also the ref of its ingest."""
    key = f"{target.annotations[_TAG]}@{target.digest}" if _TAG in target.annotations else target.digest
    if media_types.is_manifest(target.media_type):
        return f"manifest-{key}"
    if media_types.is_index(target.media_type):
        return f"index-{key}"
    if media_types.is_layer(target.media_type):
        return f"layer-{key}"
    if media_types.is_known_config(target.media_type):
        return f"config-{key}"
    return f"attestation-{key}" if target.media_type.startswith("application/vnd.in-toto") else f"unknown-{key}"


@attrs.define
class _Job:
    target: Descriptor
    parents: Sequence[str]
    done: int = 0
    told: int = 0


class Tracker:
    """The blobs of one transfer. Belongs to the event loop, but for `extracting` and `extracted`."""

    def __init__(self, tell: Tell, root: str, verb: str) -> None:
        self._tell = tell
        self._root = root
        self._verb = verb
        self._jobs: dict[str, _Job] = {}
        self._parents: dict[str, list[str]] = {}
        self._loop = asyncio.get_running_loop()

    def add(self, target: Descriptor) -> None:
        if target.digest not in self._jobs:
            job = self._jobs[target.digest] = _Job(target, self._parents.get(target.digest) or [self._root])
            self._say("waiting", job, 0)

    def children(self, target: Descriptor, children: Sequence[Descriptor]) -> None:
        for child in children:
            self._parents.setdefault(child.digest, []).append(ref_key(target))

    def advanced(self, target: Descriptor, done: int) -> None:
        """``done`` bytes are there; told at the next interval."""
        if job := self._jobs.get(target.digest):
            job.done = done

    def complete(self, target: Descriptor, *, existed: bool = False) -> None:
        if job := self._jobs.get(target.digest):
            job.done = job.told = target.size
            self._say("already exists" if existed else "complete", job, target.size)

    def layer(self, target: Descriptor, state: str) -> None:
        """How unpacking a layer goes. From any thread."""
        event = {"extracting": "extracting", "done": "extracted"}.get(state)
        if event:
            self._loop.call_soon_threadsafe(self._layer, target, event)

    def _layer(self, target: Descriptor, event: str) -> None:
        job = self._jobs.get(target.digest) or _Job(target, [self._root])
        self._say(event, job, target.size if event == "extracted" else 0)

    def _say(self, event: str, job: _Job, progress: int) -> None:
        self._tell(Event(event, ref_key(job.target), job.parents, progress, job.target.size, job.target))

    @contextlib.asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Report bytes every `INTERVAL` while the block runs."""
        task = asyncio.create_task(self._report())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            for job in self._jobs.values():
                if job.told < job.done < job.target.size:
                    job.told = job.done
                    self._say(self._verb, job, job.done)
