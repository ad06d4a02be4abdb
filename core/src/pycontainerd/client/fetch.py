"""Pulling by the client, for servers without a transfer service (the Go containerd before 1.7).

Blobs go from the registry straight into the content store, which checks their digests; nothing is kept here.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from pycontainerd.contracts import digests, manifests, media_types
from pycontainerd.contracts.errors import DataLoss, InvalidArgument, NotFound, PermissionDenied, Unavailable
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.manifests import Index
from pycontainerd.contracts.platforms import Matcher, default_platform
from pycontainerd.contracts.types import EMPTY, Descriptor, Platform

from .archive import create_or_update, label_children
from .content import CHUNK
from .transfer import OnProgress, Progress, Registry

if TYPE_CHECKING:
    import aiohttp

    from .client import Client

_REFERENCE = re.compile(
    r"(?P<host>[A-Za-z0-9.\-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)/(?P<path>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[a-f0-9]+))?\Z"
)
_ACCEPT = ", ".join(sorted(media_types.MANIFESTS | media_types.INDEXES))
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_PARALLEL = 3
_MAX_DEPTH = 8
_LOOPBACK = ("localhost", "127.", "[::1]")


@attrs.define
class _Source:
    """One repository of a registry, read over HTTP."""

    session: aiohttp.ClientSession
    registry: Registry
    host: str
    path: str
    schemes: list[str]
    authorization: str = ""

    async def get(self, path: str, accept: str = "") -> aiohttp.ClientResponse:
        """The open response to a request for ``path`` of the repository; logs in when that is asked for.

        :raises NotFound: there is no such thing.
        :raises PermissionDenied: it may not be read.
        :raises Unavailable: the registry does not answer, or not as it should.
        """
        response = await self._request(path, accept)
        if response.status == 401 and not self.authorization:
            challenge = response.headers.get("WWW-Authenticate", "")
            response.close()
            self.authorization = await self._log_in(challenge)
            response = await self._request(path, accept)
        if response.status == 200:
            return response
        response.close()
        what = f"GET {self.registry.reference} ({path}): the registry answers {response.status} {response.reason}"
        if response.status == 404:
            raise NotFound(what)
        if response.status in (401, 403):
            raise PermissionDenied(what, hint="--user NAME[:PASSWORD] logs in")
        raise Unavailable(what)

    async def _request(self, path: str, accept: str) -> aiohttp.ClientResponse:
        import aiohttp

        headers = {**self.registry.headers, **({"Accept": accept} if accept else {})}
        if self.authorization:
            headers["Authorization"] = self.authorization
        for scheme in list(self.schemes):
            try:
                response = await self.session.get(
                    f"{scheme}://{self._authority}/v2/{self.path}/{path}", headers=headers
                )
            except aiohttp.ClientError as exc:
                failure: Exception = exc
                continue
            self.schemes = [scheme]
            return response
        hint = "--plain-http if it speaks plain HTTP" if isinstance(failure, ssl.SSLError) else ""
        raise Unavailable(f"cannot reach registry {self.host}: {failure}", hint=hint) from failure

    @property
    def _authority(self) -> str:
        return "registry-1.docker.io" if self.host == "docker.io" else self.host

    async def _log_in(self, challenge: str) -> str:
        """What to authorize with: a Basic header, or a token from where the challenge says."""
        kind, _, rest = challenge.partition(" ")
        auth = self.registry.auth
        basic = f"Basic {base64.b64encode(f'{auth.user}:{auth.password}'.encode()).decode()}" if auth else ""
        if kind.lower() == "basic":
            return basic
        asked = dict(_PARAMETER.findall(rest))
        realm = urlsplit(asked.get("realm", ""))
        if kind.lower() != "bearer" or realm.scheme not in ("https", *self.schemes) or not realm.hostname:
            raise Unavailable(f"registry {self.host} asks for a login that is not known here")
        query = {"service": asked.get("service", ""), "scope": asked.get("scope", f"repository:{self.path}:pull")}
        headers = {"Authorization": basic} if basic else {}
        async with self.session.get(realm.geturl(), params=query, headers=headers) as response:
            if response.status != 200:
                raise PermissionDenied(f"login to {self.host}: {realm.hostname} answers {response.status}")
            found = await response.json(content_type=None)
        token = found.get("token") or found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str):
            raise Unavailable(f"login to {self.host}: {realm.hostname} gives no token")
        return f"Bearer {token}"

    async def manifest(self, reference: str) -> tuple[str, bytes]:
        """The media type and the bytes of a manifest or index, by tag or digest."""
        async with await self.get(f"manifests/{reference}", _ACCEPT) as response:
            data = bytearray()
            async for chunk in response.content.iter_chunked(CHUNK):
                data += chunk
                if len(data) > media_types.MAX_MANIFEST:
                    raise InvalidArgument(f"{self.registry.reference}: its manifest is larger than can be")
            return response.headers.get("Content-Type", "").partition(";")[0], bytes(data)


async def fetch_image(
    client: Client,
    registry: Registry,
    *,
    platforms: Sequence[Platform] | None = None,
    labels: Mapping[str, str] = EMPTY,
    tell: OnProgress = lambda _: None,
) -> Image:
    """Pull an image into the content store and name it as its reference.

    :param platforms: those to fetch; none for all of them; None for what runs on this machine best.
    """
    import aiohttp

    found = _REFERENCE.match(registry.reference)
    if found is None:
        raise InvalidArgument(
            f"{registry.reference!r} is no reference of an image", hint="a full name: docker.io/library/alpine:latest"
        )
    schemes = ["http"] if registry.plain_http else ["https"]
    if found["host"].startswith(_LOOPBACK) and not registry.plain_http:
        schemes.append("http")  # nobody listens in between
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session, client.lease() as held:
        source = _Source(session, registry, found["host"], found["path"], schemes)
        work = _Fetch(held, source, platforms, tell)
        target = await work.target(found["digest"] or found["tag"] or "latest", found["digest"] or "")
        await work.below(target)
        await label_children(held, target, Matcher.exactly(*platforms) if platforms else None)
        return await create_or_update(held, Image(registry.reference, target, labels))


@attrs.define
class _Fetch:
    client: Client
    source: _Source
    platforms: Sequence[Platform] | None
    tell: OnProgress
    limit: asyncio.Semaphore = attrs.Factory(lambda: asyncio.Semaphore(_PARALLEL))

    async def target(self, reference: str, expected: str) -> Descriptor:
        kind, data = await self.source.manifest(reference)
        digest = digests.of(data)
        if expected and digest != digests.validate(expected):
            raise DataLoss(f"{self.source.registry.reference}: the registry gave {digest}")
        return await self._store(Descriptor(kind, digest, len(data)), data)

    async def _store(self, target: Descriptor, data: bytes) -> Descriptor:
        await self.client.content.write(
            f"manifest-{target.digest}", data, total=target.size, expected=target.digest, labels=self._origin()
        )
        self.tell(Progress("complete", target.digest, (), target.size, target.size))
        return target

    def _origin(self) -> dict[str, str]:
        return {f"containerd.io/distribution.source.{self.source.host}": self.source.path}

    async def below(self, target: Descriptor, depth: int = 0) -> None:
        """Fetch what the manifest or index ``target``, which is stored already, refers to."""
        data = await self.client.content.read_all(target.digest, media_types.MAX_MANIFEST)
        document = manifests.parse(data, target.media_type, f"manifest {target.digest}")
        if not isinstance(document, Index):
            async with asyncio.TaskGroup() as group:
                for child in {item.digest: item for item in document.children}.values():
                    group.create_task(self._blob(child))
            return
        if depth >= _MAX_DEPTH:
            raise InvalidArgument(f"{target.digest}: indexes in indexes, more than {_MAX_DEPTH} deep")
        for child in self._wanted(document.manifests):
            kind, data = await self.source.manifest(child.digest)
            if digests.of(data) != child.digest:
                raise DataLoss(f"{self.source.registry.reference}: manifest {child.digest} is another in the registry")
            await self._store(attrs.evolve(child, media_type=child.media_type or kind), data)
            await self.below(child, depth + 1)

    def _wanted(self, children: Sequence[Descriptor]) -> list[Descriptor]:
        usable = [c for c in children if media_types.is_manifest(c.media_type) or media_types.is_index(c.media_type)]
        if self.platforms is not None and not self.platforms:
            return usable
        with_platform = [item for item in usable if item.platform]
        candidates = [item.platform for item in with_platform if item.platform]
        matchers = [Matcher.running_on(platform) for platform in self.platforms or [default_platform()]]
        best = {found for matcher in matchers if (found := matcher.match(candidates)) is not None}
        if not best:
            raise NotFound(f"{self.source.registry.reference}: it has no image for the platform asked for")
        return [with_platform[index] for index in sorted(best)]

    async def _blob(self, target: Descriptor) -> None:
        digests.validate(target.digest)
        with contextlib.suppress(NotFound):
            await self.client.content.info(target.digest)
            self.tell(Progress("exists", target.digest, (), target.size, target.size))
            return
        async with self.limit, await self.source.get(f"blobs/{target.digest}") as response:
            pieces = counted(response.content.iter_chunked(CHUNK), target, self.tell)
            await self.client.content.write(
                f"layer-{target.digest}", pieces, total=target.size, expected=target.digest, labels=self._origin()
            )
        self.tell(Progress("complete", target.digest, (), target.size, target.size))


async def counted(pieces: Any, target: Descriptor, tell: Callable[[Progress], None]) -> AsyncIterator[bytes]:
    """``pieces`` as they are, telling how far they are; more than ``target`` has are not passed on.

    :raises DataLoss: there is more than there should be.
    """
    done = 0
    async for piece in pieces:
        done += len(piece)
        if done > target.size:
            raise DataLoss(f"blob {target.digest}: more than its {target.size} bytes come")
        tell(Progress("downloading", target.digest, (), done, target.size))
        yield piece
