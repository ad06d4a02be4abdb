"""containerd.services.transfer.v1.Transfer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from pycontainerd.api import anys
from pycontainerd.api.convert import descriptor_message, platform_record
from pycontainerd.api.services.transfer.v1 import transfer_pb2 as pb
from pycontainerd.api.types.transfer import imagestore_pb2, importexport_pb2, progress_pb2, registry_pb2
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument, NotImplemented, Unavailable
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.types import AnyValue

from .contents import Choice

if TYPE_CHECKING:  # what a request needs is imported by the first one that does, not by the start of the daemon
    from pycontainerd.registry.client import Registry
    from pycontainerd.registry.tokens import Credentials
    from pycontainerd.registry.transport import GetCredentials

    from .local import LocalTransfer
    from .naming import Store
    from .progress import Event, Tell

_UNREAD = 1000  # progress messages that a client leaves unread before it gets no more
_ANSWER = 60.0  # seconds a client may take to answer a question for credentials


class TransferRpc:
    """The gRPC edge of `LocalTransfer`. ``streams`` finds the streams that a request names."""

    SERVICE = "containerd.services.transfer.v1.Transfer"

    def __init__(self, transfer: LocalTransfer, streams: Any) -> None:
        self._transfer = transfer
        self._streams = streams

    async def Transfer(self, request: pb.TransferRequest, call: Call) -> Empty:
        """Move an image from the source to the destination; returns when it is there."""
        scope = call.scope
        name = request.options.progress_stream
        progress = self._streams.get(scope.namespace, name) if name else None
        try:
            source, target = anys.unpack(request.source), anys.unpack(request.destination)
            await self._run(_Sides(self._transfer, self._streams, scope), source, target, _tell(progress))
        finally:
            if progress is not None:
                await progress.finish()
        return Empty()

    @staticmethod
    async def _run(sides: _Sides, source: Message, target: Message, tell: Tell) -> None:
        match source, target:
            case registry_pb2.OCIRegistry(), imagestore_pb2.ImageStore():
                await sides.pull(source, target, tell)
            case imagestore_pb2.ImageStore(), registry_pb2.OCIRegistry():
                await sides.push(source, target, tell)
            case imagestore_pb2.ImageStore(), imagestore_pb2.ImageStore():
                await sides.transfer.tag(sides.scope, store_of(source), store_of(target))
            case importexport_pb2.ImageImportStream(), imagestore_pb2.ImageStore():
                await sides.import_(source, target, tell)
            case imagestore_pb2.ImageStore(), importexport_pb2.ImageExportStream():
                await sides.export(source, target, tell)
            case _:
                raise NotImplemented(
                    f"cannot transfer from {source.DESCRIPTOR.full_name} to {target.DESCRIPTOR.full_name}"
                )


class _Sides:
    """One request's ends, from messages to what the library takes."""

    def __init__(self, transfer: LocalTransfer, streams: Any, scope: Any) -> None:
        self.transfer = transfer
        self._streams = streams
        self.scope = scope

    async def pull(self, source: registry_pb2.OCIRegistry, target: imagestore_pb2.ImageStore, tell: Tell) -> None:
        async with self._registry(source) as registry:
            await self.transfer.pull(self.scope, registry, store_of(target), tell)

    async def push(self, source: imagestore_pb2.ImageStore, target: registry_pb2.OCIRegistry, tell: Tell) -> None:
        async with self._registry(target) as registry:
            await self.transfer.push(self.scope, store_of(source), registry, tell)

    async def import_(
        self, source: importexport_pb2.ImageImportStream, target: imagestore_pb2.ImageStore, tell: Tell
    ) -> None:
        stream = self._streams.get(self.scope.namespace, source.stream)
        try:
            store = store_of(target)
            await self.transfer.import_archive(self.scope, stream, store, tell, compress=source.force_compress)
        finally:
            stream.close()

    async def export(
        self, source: imagestore_pb2.ImageStore, target: importexport_pb2.ImageExportStream, tell: Tell
    ) -> None:
        from .export import ExportOptions

        stream = self._streams.get(self.scope.namespace, target.stream)
        options = ExportOptions(
            platforms=[platform_record(item) for item in target.platforms],
            all_platforms=target.all_platforms,
            skip_manifest=target.skip_compatibility_manifest,
            skip_non_distributable=target.skip_non_distributable,
        )
        try:
            await self.transfer.export(self.scope, store_of(source), stream, options, tell)
        finally:
            await stream.finish(60)

    @contextlib.asynccontextmanager
    async def _registry(self, message: registry_pb2.OCIRegistry) -> AsyncIterator[Registry]:
        from pycontainerd.registry import reference
        from pycontainerd.registry.client import Registry, anonymous

        resolver = message.resolver
        credentials: GetCredentials = anonymous
        if resolver.auth_stream:
            stream = self._streams.get(self.scope.namespace, resolver.auth_stream)
            credentials = _Asker(stream, message.reference).credentials
        registry = Registry(
            reference.parse(message.reference),
            hosts_dir=resolver.host_dir or self.transfer.config.config_path,
            scheme=resolver.default_scheme,
            headers=dict(resolver.headers),
            credentials=credentials,
        )
        async with registry:
            yield registry


class _Asker:
    """Asks the client for credentials, one question at a time."""

    def __init__(self, stream: Any, ref: str) -> None:
        self._stream = stream
        self._reference = ref
        self._lock = asyncio.Lock()

    async def credentials(self, host: str, challenges: Sequence[str]) -> Credentials | None:
        from pycontainerd.registry.tokens import Credentials

        question = registry_pb2.AuthRequest(host=host, reference=self._reference, wwwauthenticate=challenges)
        packed = anys.pack(question)
        async with self._lock:
            self._stream.send(AnyValue(packed.type_url, packed.value))
            try:
                message = await asyncio.wait_for(self._stream.receive(), _ANSWER)
            except TimeoutError:
                raise Unavailable(f"the client did not say within {_ANSWER:.0f} s how to log in to {host}") from None
        if message is None or not message.type_url.endswith("AuthResponse"):
            raise InvalidArgument(f"the client did not answer how to log in to {host}")
        try:
            answer = registry_pb2.AuthResponse.FromString(message.value)
        except DecodeError:
            raise InvalidArgument(f"the client's answer how to log in to {host} cannot be read") from None
        if answer.authType == registry_pb2.HEADER:
            return Credentials(header=answer.secret)
        if answer.authType == registry_pb2.REFRESH:
            return Credentials(secret=answer.secret)
        return Credentials(answer.username, answer.secret) if answer.authType == registry_pb2.CREDENTIALS else None


def store_of(message: imagestore_pb2.ImageStore) -> Store:
    """What a client says of the image store."""
    from .naming import ImageReference, Store, Unpack

    return Store(
        name=message.name,
        labels=dict(message.labels),
        choice=Choice(
            tuple(platform_record(item) for item in message.platforms), message.all_metadata, message.manifest_limit
        ),
        references=[
            ImageReference(item.name, item.is_prefix, item.allow_overwrite, item.add_digest, item.skip_named_digest)
            for item in message.extra_references
        ],
        unpacks=[
            Unpack(item.snapshotter, platform_record(item.platform) if item.platform.os else None)
            for item in message.unpacks
        ],
    )


def _tell(stream: Any) -> Tell:
    """A function that sends events over ``stream``; a client that does not read them gets no more, and no error."""
    if stream is None:
        return lambda _: None

    def tell(event: Event) -> None:
        if stream.backlog > _UNREAD:
            return
        message = progress_pb2.Progress(
            event=event.event, name=event.name, parents=event.parents, progress=event.progress, total=event.total
        )
        if event.descriptor is not None:
            message.desc.CopyFrom(descriptor_message(event.descriptor))
        packed = anys.pack(message)
        with contextlib.suppress(ContainerdError):  # nobody watches any more
            stream.send(AnyValue(packed.type_url, packed.value))

    return tell
