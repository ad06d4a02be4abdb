"""The transfer service: the server imports, exports, pulls, pushes and tags; progress comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence

import attrs
from google.protobuf.message import Message

from pycontainerd.api import anys
from pycontainerd.api.convert import platform_message
from pycontainerd.api.services.transfer.v1 import transfer_pb2 as pb
from pycontainerd.api.types.transfer import imagestore_pb2, importexport_pb2, progress_pb2, registry_pb2
from pycontainerd.contracts.types import EMPTY, Platform

from .service import MakeStub, Service
from .streaming import Stream, Streaming


@attrs.frozen
class Progress:
    """One step: ``event`` says what happened to ``name``; ``total`` is 0 where it is not known."""

    event: str
    name: str
    parents: Sequence[str] = ()
    progress: int = 0
    total: int = 0


@attrs.frozen
class Auth:
    """How to log in to a registry: a user and password, or a refresh token as ``password`` without a user."""

    user: str = ""
    password: str = ""


@attrs.frozen
class Registry:
    """A reference in a registry and how to get there."""

    reference: str
    auth: Auth | None = None
    hosts_dir: str = ""
    plain_http: bool = False
    headers: Mapping[str, str] = EMPTY


@attrs.frozen
class ImageOptions:
    """What the server makes of an image. ``unpack`` names snapshotters ("" is the default one)."""

    labels: Mapping[str, str] = EMPTY
    platforms: Sequence[Platform] = ()
    all_metadata: bool = False
    unpack: Sequence[str] = ()
    unpack_platform: Platform | None = None


OnProgress = Callable[[Progress], None]


class Transfer(Service):
    """Every call raises `NotImplemented` where the server has no transfer service (the Go containerd before 1.7)."""

    SERVICE = "containerd.services.transfer.v1.Transfer"

    def __init__(self, make: MakeStub, streaming: Streaming) -> None:
        super().__init__(make)
        self._streaming = streaming

    async def transfer(self, source: Message, destination: Message, on_progress: OnProgress | None = None) -> None:
        """The raw call: from one of containerd's transfer types to another."""
        request = pb.TransferRequest(source=anys.pack(source), destination=anys.pack(destination))
        if on_progress is None:
            await self._stub.unary("Transfer", request)
            return
        async with self._streaming.open("progress") as stream:
            request.options.progress_stream = stream.id
            watcher = asyncio.create_task(_watch(stream, on_progress))
            try:
                await self._stub.unary("Transfer", request)
                # The server closes the stream at the end; one that does not must not keep us.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(watcher), 2)
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)

    async def pull(
        self, source: Registry, name: str, options: ImageOptions, on_progress: OnProgress | None = None
    ) -> None:
        """Pull ``source`` and call it ``name``."""
        async with self._registry(source) as registry:
            await self.transfer(registry, _store(name, options), on_progress)

    async def push(
        self,
        name: str,
        target: Registry,
        platforms: Sequence[Platform] = (),
        on_progress: OnProgress | None = None,
    ) -> None:
        """Push the image ``name`` (only ``platforms`` of it, if any are given)."""
        store = imagestore_pb2.ImageStore(name=name, platforms=[platform_message(item) for item in platforms])
        async with self._registry(target) as registry:
            await self.transfer(store, registry, on_progress)

    async def tag(self, name: str, new: str) -> None:
        await self.transfer(imagestore_pb2.ImageStore(name=name), imagestore_pb2.ImageStore(name=new))

    async def import_archive(
        self,
        source: AsyncIterable[bytes],
        options: ImageOptions,
        *,
        base_name: str = "",
        overwrite: bool = False,
        digests: bool = False,
        skip_digest_for_named: bool = False,
        index_name: str = "",
        compress: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Import an OCI or Docker archive (tar, as it is or compressed)."""
        store = _store(index_name, options)
        reference = imagestore_pb2.ImageReference(
            name=base_name,
            is_prefix=True,
            allow_overwrite=overwrite,
            add_digest=digests,
            skip_named_digest=skip_digest_for_named,
        )
        store.extra_references.append(reference)
        async with self._streaming.open("import") as stream:
            described = importexport_pb2.ImageImportStream(stream=stream.id, force_compress=compress)
            sender = asyncio.create_task(stream.send_bytes(source))
            try:
                await self.transfer(described, store, on_progress)
            finally:
                if not sender.done():
                    sender.cancel()
                results = await asyncio.gather(sender, return_exceptions=True)
            if isinstance(results[0], OSError):  # the source could not be read
                raise results[0]

    async def export_archive(
        self,
        names: Sequence[str],
        *,
        platforms: Sequence[Platform] = (),
        all_platforms: bool = False,
        skip_manifest: bool = False,
        skip_non_distributable: bool = False,
        on_progress: OnProgress | None = None,
    ) -> AsyncIterator[bytes]:
        """An OCI archive (with a Docker manifest unless ``skip_manifest``) of the images ``names``."""
        store = imagestore_pb2.ImageStore(name=names[0] if len(names) == 1 else "")
        if len(names) > 1:
            store.extra_references.extend(imagestore_pb2.ImageReference(name=name) for name in names)
        async with self._streaming.open("export") as stream:
            described = importexport_pb2.ImageExportStream(
                stream=stream.id,
                platforms=[platform_message(item) for item in platforms],
                all_platforms=all_platforms,
                skip_compatibility_manifest=skip_manifest,
                skip_non_distributable=skip_non_distributable,
            )
            call = asyncio.create_task(self.transfer(store, described, on_progress))
            try:
                async for chunk in _until(stream.receive_bytes(), call):
                    yield chunk
                await call
            finally:
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _registry(self, value: Registry) -> AsyncIterator[registry_pb2.OCIRegistry]:
        resolver = registry_pb2.RegistryResolver(
            headers=value.headers, host_dir=value.hosts_dir, default_scheme="http" if value.plain_http else ""
        )
        message = registry_pb2.OCIRegistry(reference=value.reference, resolver=resolver)
        if value.auth is None:
            yield message
            return
        async with self._streaming.open("auth") as stream:
            message.resolver.auth_stream = stream.id
            answering = asyncio.create_task(_answer(stream, value.auth))
            try:
                yield message
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)


def _store(name: str, options: ImageOptions) -> imagestore_pb2.ImageStore:
    platform = platform_message(options.unpack_platform) if options.unpack_platform else None
    return imagestore_pb2.ImageStore(
        name=name,
        labels=options.labels,
        platforms=[platform_message(item) for item in options.platforms],
        all_metadata=options.all_metadata,
        unpacks=[imagestore_pb2.UnpackConfiguration(platform=platform, snapshotter=item) for item in options.unpack],
    )


async def _watch(stream: Stream, on_progress: OnProgress) -> None:
    async for message in stream.messages():
        found = anys.unpack(message)
        if isinstance(found, progress_pb2.Progress):
            on_progress(Progress(found.event, found.name, tuple(found.parents), found.progress, found.total))


async def _answer(stream: Stream, auth: Auth) -> None:
    """Answer the server's questions for credentials."""
    async for _ in stream.messages():
        kind = registry_pb2.CREDENTIALS if auth.user else registry_pb2.REFRESH
        response = registry_pb2.AuthResponse(authType=kind, username=auth.user, secret=auth.password)
        await stream.send(anys.pack(response))


async def _until(chunks: AsyncIterator[bytes], call: asyncio.Task[None]) -> AsyncIterator[bytes]:
    """``chunks``, but a failure of ``call`` ends the waiting for the next one."""
    while True:
        following = asyncio.ensure_future(anext(chunks, None))
        await asyncio.wait({following, call}, return_when=asyncio.FIRST_COMPLETED)
        if not following.done() and call.done() and call.exception() is not None:
            following.cancel()
            call.result()
        chunk = await following
        if chunk is None:
            return
        yield chunk
