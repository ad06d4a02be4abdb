"""One reference in a registry: resolve it, fetch what it is made of, push to it. Belongs to the event loop."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from yarl import URL

from pycontainerd.contracts import digests, media_types
from pycontainerd.contracts.errors import (
    ContainerdError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotImplemented,
    Unavailable,
)
from pycontainerd.contracts.types import EMPTY, Descriptor

from . import aio, tokens
from .aio import aiohttp
from .hosts import Host, configured
from .reference import Reference, parse
from .transport import TRIES, GetCredentials, Opened, Transport, session, shown, status_error, tls_context

CHUNK = 1 << 20  # bytes
RESUMES = 5  # broken connections in a row without a byte between them
_ACCEPT = ", ".join([*sorted(media_types.MANIFESTS | media_types.INDEXES), "*/*"])


async def anonymous(_host: str, _challenges: Sequence[str]) -> tokens.Credentials | None:
    """No credentials, whoever asks."""
    return None


class Registry:
    """``async with`` it. Hosts are tried in order; which host failed how is in the error."""

    def __init__(
        self,
        reference: Reference,
        *,
        hosts_dir: str = "",
        scheme: str = "",
        headers: Mapping[str, str] = EMPTY,
        credentials: GetCredentials = anonymous,
    ) -> None:
        if scheme not in ("", "http", "https"):
            raise InvalidArgument(f"a registry is reached by http or https, not by {scheme!r}")
        self.reference = reference
        self._where = (hosts_dir, scheme)
        self._headers = headers
        self._credentials = credentials
        self._opened = Opened()
        self._good: Transport | None = None  # the host that has answered

    async def __aenter__(self) -> Self:
        def prepare() -> list[tuple[Host, Any]]:
            aio.load()
            return [(host, tls_context(host)) for host in configured(self.reference.host, *self._where)]

        for host, context in await asyncio.to_thread(prepare):
            client = session(context, host.dial_timeout)
            self._opened.sessions.append(client)
            self._opened.transports.append(Transport(host, client, self._credentials, self._headers))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.close()

    def _hosts(self, *capabilities: str) -> list[Transport]:
        found = [one for one in self._opened.transports if one.host.capabilities >= set(capabilities)]
        if not found:
            raise NotFound(f"no host of {self.reference.host} is configured that can {' and '.join(capabilities)}")
        # Whoever answered before is asked first: a mirror that is down costs its time-out once.
        return sorted(found, key=lambda one: one is not self._good)

    def _scopes(self, *, push: bool = False) -> list[str]:
        return [tokens.scope(self.reference.path, push=push)]

    def _url(self, transport: Transport, kind: str, name: str) -> str:
        url = transport.url(f"{self.reference.path}/{kind}/{quote(name, safe=':')}")
        own = transport.host.host == self.reference.host or self.reference.host == "docker.io"
        if own and not (self.reference.host == "docker.io" and transport.host.host != "registry-1.docker.io"):
            return url
        return f"{url}?{urlencode({'ns': self.reference.host})}"  # tells a mirror whose repository it is

    async def _first(self, hosts: Sequence[Transport], work: Callable[[Transport, int], Any]) -> Any:
        """What ``work`` gives with the first host it succeeds with; else the error that got furthest."""
        errors: list[ContainerdError] = []
        for transport in hosts:
            try:
                result = await work(transport, TRIES if transport is hosts[-1] else 1)
            except ContainerdError as exc:
                errors.append(exc)
            else:
                self._good = transport
                return result
        raise max(errors, key=lambda exc: not isinstance(exc, (Unavailable, NotFound)))

    async def resolve(self, tag: str = "") -> Descriptor:
        """The descriptor of what the reference names, or another ``tag`` of its repository.

        :raises NotFound: there is no such thing.
        :raises InvalidArgument: it is larger than manifests may be, or no manifest.
        """
        wanted = parse(f"{self.reference.locator}:{tag}") if tag else self.reference
        capabilities = ("pull",) if wanted.digest else ("pull", "resolve")
        found: Descriptor = await self._first(self._hosts(*capabilities), partial(self._resolve, wanted))
        return found

    async def _resolve(self, wanted: Reference, transport: Transport, tries: int) -> Descriptor:
        url = self._url(transport, "manifests", wanted.object)
        what = f"cannot resolve {wanted}"
        for method in ("HEAD", "GET"):
            async with transport.request(
                method, url, scopes=self._scopes(), headers={"Accept": _ACCEPT}, tries=tries
            ) as response:
                if method == "HEAD" and response.status in (403, 405, 501):
                    continue  # GET says more, or is all that it knows
                if response.status >= 300:
                    raise status_error(response, what)
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
                digest = wanted.digest or response.headers.get("Docker-Content-Digest", "")
                size = response.content_length
                if method == "HEAD" and (not digest or size is None):
                    continue
                if method == "GET":
                    digest, size = await _measure(response, wanted.digest, what)
                return _manifest(media_type, digests.validate(digest), size or 0, what)
        raise AssertionError("unreachable")

    async def fetch(self, target: Descriptor, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of ``target`` from ``offset`` on; a broken connection is taken up where it broke.

        Whoever takes them verifies the digest; here only more than ``target.size`` bytes is an error.

        :raises NotFound: the registry does not have it.
        :raises DataLoss: it has another size.
        """
        hosts = self._hosts("pull")
        failures = 0
        while offset < target.size:
            before = offset
            try:
                async for chunk in self._fetch(hosts[failures % len(hosts)], target, offset):
                    offset += len(chunk)
                    if offset > target.size:
                        raise DataLoss(f"{self._what(target)} is longer than the {target.size} bytes it should have")
                    yield chunk
                if offset >= target.size:
                    return
                problem: ContainerdError = DataLoss(
                    f"{self._what(target)} ended after {offset} of {target.size} bytes", hint="try again"
                )
            except (Unavailable, NotFound) as exc:
                problem = exc
            failures = 0 if offset > before else failures + 1
            limit = max(len(hosts), 1 if isinstance(problem, NotFound) else 2 if offset == before else RESUMES)
            if failures >= limit:
                raise problem
            await asyncio.sleep(0.05 * failures)

    def _what(self, target: Descriptor) -> str:
        return f"{target.media_type} {target.digest} of {self.reference.locator}"

    async def _fetch(self, transport: Transport, target: Descriptor, offset: int) -> AsyncIterator[bytes]:
        manifest = media_types.is_manifest(target.media_type) or media_types.is_index(target.media_type)
        url = self._url(transport, "manifests" if manifest else "blobs", target.digest)
        headers = {"Accept": f"{target.media_type}, */*"} | ({"Range": f"bytes={offset}-"} if offset else {})
        async with transport.request("GET", url, scopes=self._scopes(), headers=headers) as response:
            if response.status not in (200, 206):
                raise status_error(response, f"cannot fetch {self._what(target)}")
            skip = 0
            if response.status == 206:
                if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                    raise DataLoss(f"{shown(response.url)} sent another range than from byte {offset} on")
            else:
                skip = offset  # it knows no ranges
            async for chunk in response.content.iter_chunked(CHUNK):
                if skip:
                    skipped = min(skip, len(chunk))
                    skip -= skipped
                    chunk = chunk[skipped:]
                if chunk:
                    yield chunk

    async def push(
        self, target: Descriptor, body: Callable[[], AsyncIterator[bytes]], *, mount: str = "", tag: bool = False
    ) -> bool:
        """Push ``target``, whose bytes ``body`` gives; False when the registry had it.

        ``mount`` names another repository of the registry that has the blob; with ``tag`` a manifest gets the tag.
        """
        transport = self._hosts("push")[0]
        if media_types.is_manifest(target.media_type) or media_types.is_index(target.media_type):
            return await self._push_manifest(transport, target, body, tag)
        return await self._push_blob(transport, target, body, mount)

    async def _exists(self, transport: Transport, kind: str, name: str, target: Descriptor) -> bool:
        url = self._url(transport, kind, name)
        headers = {"Accept": f"{target.media_type}, */*"}
        async with transport.request("HEAD", url, scopes=self._scopes(push=True), headers=headers) as response:
            if response.status == 200:
                return name == target.digest or response.headers.get("Docker-Content-Digest") == target.digest
            if response.status == 404:
                return False
            raise status_error(response, f"cannot push to {self.reference.locator}")

    async def _push_manifest(
        self, transport: Transport, target: Descriptor, body: Callable[[], AsyncIterator[bytes]], tag: bool
    ) -> bool:
        name = self.reference.tag if tag and self.reference.tag else target.digest
        if await self._exists(transport, "manifests", name, target):
            return False
        data = b"".join([chunk async for chunk in body()])
        headers = {"Content-Type": target.media_type}
        url = self._url(transport, "manifests", name)
        async with transport.request(
            "PUT", url, scopes=self._scopes(push=True), headers=headers, body=lambda: data
        ) as response:
            if response.status not in (200, 201, 202, 204):
                raise status_error(response, f"cannot push {self._what(target)}")
            return True

    async def _push_blob(
        self, transport: Transport, target: Descriptor, body: Callable[[], AsyncIterator[bytes]], mount: str
    ) -> bool:
        if await self._exists(transport, "blobs", target.digest, target):
            return False
        location = await self._start_upload(transport, target, mount)
        if not location:
            return False
        joined = URL(transport.origin).join(URL(location, encoded=True))
        query = f"{joined.raw_query_string}&" if joined.raw_query_string else ""
        url = f"{shown(joined)}?{query}{urlencode({'digest': target.digest})}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(target.size)}
        # A body is sent once: a broken upload begins anew with a new location.
        async with transport.request(
            "PUT", url, scopes=self._scopes(push=True), headers=headers, body=body, tries=1
        ) as response:
            if response.status not in (200, 201, 204):
                raise status_error(response, f"cannot push {self._what(target)}")
        return True

    async def _start_upload(self, transport: Transport, target: Descriptor, mount: str) -> str:
        """Where to upload to; "" when the registry took the blob from ``mount``."""
        base = transport.url(f"{self.reference.path}/blobs/uploads/")
        scopes = self._scopes(push=True)
        asked = (
            [(f"{base}?{urlencode({'mount': target.digest, 'from': mount})}", [*scopes, tokens.scope(mount)])]
            if mount
            else []
        )
        for url, wanted in [*asked, (base, scopes)]:
            try:
                async with transport.request("POST", url, scopes=wanted, body=lambda: b"") as response:
                    if response.status == 201:
                        return ""
                    if response.status in (200, 202, 204) and response.headers.get("Location"):
                        return str(response.headers["Location"])
                    if url == base:
                        raise status_error(response, f"cannot push to {self.reference.locator}")
            except ContainerdError:
                if url == base:
                    raise
        raise FailedPrecondition(f"cannot push to {self.reference.locator}: the registry opens no upload")


def _manifest(media_type: str, digest: str, size: int, what: str) -> Descriptor:
    if size > media_types.MAX_MANIFEST:
        raise InvalidArgument(f"{what}: its manifest is {size} bytes long, the limit is {media_types.MAX_MANIFEST}")
    if media_type in (media_types.DOCKER_SCHEMA1, "text/plain", "application/vnd.docker.distribution.manifest.v1+json"):
        raise NotImplemented(
            f"{what}: it has a manifest of schema 1, which is no longer supported", hint="rebuild the image"
        )
    if not media_types.is_manifest(media_type) and not media_types.is_index(media_type):
        raise InvalidArgument(f"{what}: {media_type!r} is the media type of neither a manifest nor an index")
    return Descriptor(media_type, digest, size)


async def _measure(response: aiohttp.ClientResponse, digest: str, what: str) -> tuple[str, int]:
    """Digest and size of the manifest in a response; the digest the registry claims does not count."""
    state, size = hashlib.new(digest.partition(":")[0] or "sha256"), 0
    async for chunk in response.content.iter_chunked(CHUNK):
        state.update(chunk)
        size += len(chunk)
        if size > media_types.MAX_MANIFEST:
            raise InvalidArgument(f"{what}: its manifest is longer than the limit of {media_types.MAX_MANIFEST} bytes")
    found = digests.text(state)
    if digest and found != digest:
        raise DataLoss(f"{what}: the registry sent {found}")
    return found, size
