"""HTTP with one registry host: logging in, redirects, retries. Belongs to the event loop.

Credentials, and the headers that a hosts.toml sets, go to the host they are for and to no other; URLs in errors have no
query, for that may be signed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import attrs
from yarl import URL

from pycontainerd.contracts.errors import (
    ContainerdError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from pycontainerd.contracts.types import EMPTY

from . import challenge, tokens
from .aio import aiohttp
from .hosts import Host, is_local

STALLED = 60.0  # seconds without a byte
TRIES = 4
MAX_REDIRECTS = 10
READ_AHEAD = 1 << 20  # bytes of a body that wait to be taken
MAX_ERROR = 64 << 10  # bytes of an error's body
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_PASSED_ON = ("accept", "range")  # headers that follow a redirect to another origin

GetCredentials = Callable[[str, Sequence[str]], Awaitable[tokens.Credentials | None]]
Body = Callable[[], Any]


def shown(url: str | URL) -> str:
    """A URL as it may be shown: without user, query and fragment."""
    parts = urlsplit(str(url))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Transport:
    """Requests to one host of a registry."""

    def __init__(
        self,
        host: Host,
        session: aiohttp.ClientSession,
        credentials: GetCredentials,
        headers: Mapping[str, str] = EMPTY,
    ) -> None:
        self.host = host
        self._session = session
        self._credentials = credentials
        self._headers = headers
        self._scheme = host.scheme
        self._challenge: challenge.Challenge | None = None
        self._secret: tokens.Credentials | None = None
        self._tokens: dict[tuple[str, ...], tokens.Token] = {}
        self._lock = asyncio.Lock()

    @property
    def origin(self) -> str:
        return f"{self._scheme}://{self.host.host}"

    def url(self, path: str) -> str:
        return f"{self.origin}{self.host.path}/{path}"

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        scopes: Sequence[str],
        headers: Mapping[str, str] = EMPTY,
        body: Body | None = None,
        tries: int = TRIES,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response, whatever its status, with what can be retried retried.

        :raises Unavailable: no connection, or the connection broke.
        :raises Unauthenticated: the registry wants a login that we cannot give.
        """
        response = await self._retried(method, url, scopes, headers, body, tries)
        try:
            yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise Unavailable(f"{method} {shown(url)}: {_reason(exc)}") from None
        finally:
            response.close()

    async def _retried(
        self, method: str, url: str, scopes: Sequence[str], headers: Mapping[str, str], body: Body | None, tries: int
    ) -> aiohttp.ClientResponse:
        for attempt in range(1, tries + 1):
            try:
                response = await self._authorized(method, url, scopes, headers, body)
            except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                if attempt == tries or isinstance(
                    exc, (aiohttp.ClientSSLError, aiohttp.InvalidURL, aiohttp.ClientConnectorDNSError)
                ):
                    raise _unreachable(method, url, exc) from None
            else:
                if response.status not in _RETRIED or attempt == tries:
                    return response
                response.close()
            await asyncio.sleep(0.1 * 3 ** (attempt - 1))
        raise AssertionError("unreachable")

    async def _authorized(
        self, method: str, url: str, scopes: Sequence[str], headers: Mapping[str, str], body: Body | None
    ) -> aiohttp.ClientResponse:
        for attempt in range(3):
            own = {key: ", ".join(values) for key, values in self.host.headers.items()} | dict(self._headers)
            merged = {**own, **headers}
            if self._is_own(url) and (authorization := await self._authorization(scopes)):
                merged["Authorization"] = authorization
            response = await self._redirected(method, url, merged, body)
            if response.status != 401 or not self._is_own(str(response.url)):
                return response
            found = challenge.parse(response.headers.getall("WWW-Authenticate", []))
            response.close()
            if attempt == 2:
                break
            await self._challenged(found, response.headers.getall("WWW-Authenticate", []), scopes)
        raise Unauthenticated(f"{self.host.host} refuses the credentials for {shown(url)}")

    def _is_own(self, url: str) -> bool:
        return self._settled(URL(url, encoded=True)).origin() == URL(self.origin).origin()

    def _settled(self, url: URL) -> URL:
        """``url`` with the scheme that this host turned out to speak."""
        fallen = self.host.fallback and self._scheme == "http" and url.scheme == "https"
        if not fallen or url.origin() != URL(f"https://{self.host.host}").origin():
            return url
        return URL(f"http{str(url).removeprefix('https')}", encoded=True)

    async def _redirected(
        self, method: str, url: str, headers: dict[str, str], body: Body | None
    ) -> aiohttp.ClientResponse:
        target = URL(url, encoded=True)
        if not self._is_own(url):  # an upload's location may be elsewhere
            headers = {
                key: value
                for key, value in headers.items()
                if key.lower() in (*_PASSED_ON, "content-type", "content-length")
            }
        for _ in range(MAX_REDIRECTS):
            response = await self._send(method, target, headers, body)
            location = response.headers.get("Location", "")
            if response.status not in (301, 302, 303, 307, 308) or not location or method not in ("GET", "HEAD"):
                return response
            response.close()
            following = target.join(URL(location, encoded=True))
            if following.scheme not in ("http", "https") or not following.host:
                raise InvalidArgument(f"{shown(target)} redirects to something that is not HTTP")
            if following.origin() != target.origin():
                headers = {key: value for key, value in headers.items() if key.lower() in _PASSED_ON}
            target = following
        raise Unavailable(f"{shown(url)} redirects more than {MAX_REDIRECTS} times")

    async def _send(
        self, method: str, url: URL, headers: Mapping[str, str], body: Body | None
    ) -> aiohttp.ClientResponse:
        sent = {"Accept-Encoding": "identity", "User-Agent": "pycontainerd", **headers}
        for target in (self._settled(url), None):
            try:
                return await self._session.request(
                    method,
                    target or self._settled(url),
                    headers=sent,
                    data=body() if body is not None else None,
                    allow_redirects=False,
                    proxy=proxy(target or self._settled(url)),
                )
            except aiohttp.ClientConnectorSSLError as exc:
                if target is None or not (self.host.fallback and self._is_own(str(url)) and _no_tls(exc)):
                    raise
                # The other side speaks no TLS, and its configuration says that HTTP will do.
                self._scheme = "http"
        raise AssertionError("unreachable")

    async def _challenged(self, found: list[challenge.Challenge], raw: list[str], scopes: Sequence[str]) -> None:
        async with self._lock:
            self._tokens.pop(tuple(scopes), None)
            if self._secret is None:
                self._secret = await self._credentials(self.host.host, raw)
            usable = [one for one in found if one.scheme == "bearer" or (one.scheme == "basic" and self._has_login())]
            if not usable:
                ways = ", ".join(one.scheme for one in found) or "nothing that is understood"
                raise Unauthenticated(
                    f"{self.host.host} wants a login ({ways}) and there are no credentials for it",
                    hint="give a user and password",
                )
            self._challenge = usable[0]

    def _has_login(self) -> bool:
        return self._secret is not None and bool(self._secret.header or (self._secret.user and self._secret.secret))

    async def _authorization(self, scopes: Sequence[str]) -> str:
        if self._challenge is None:
            return ""
        if self._secret is not None and self._secret.header:
            return self._secret.header
        if self._challenge.scheme == "basic":
            return self._secret.basic if self._secret is not None else ""
        key = tuple(scopes)
        async with self._lock:
            token = self._tokens.get(key)
            if token is None or token.expires <= asyncio.get_running_loop().time():
                token = self._tokens[key] = await self._token(key)
            return f"Bearer {token.value}"

    async def _token(self, scopes: Sequence[str]) -> tokens.Token:
        assert self._challenge is not None
        wanted = self._challenge.parameters.get("scope", "").split()
        asked = list(dict.fromkeys([*scopes, *wanted]))
        attempts = tokens.requests(self._challenge, asked, self._secret)
        for number, one in enumerate(attempts):
            headers = {"Accept-Encoding": "identity"} | (
                {"Authorization": one.authorization} if one.authorization else {}
            )
            if URL(one.url).scheme == "http" and self._scheme == "https" and self._secret is not None:
                raise PermissionDenied(
                    f"{self.host.host} wants the password sent in clear to {shown(one.url)}: refused"
                )
            async with self._session.request(
                one.method,
                URL(one.url, encoded=True),
                headers=headers,
                data=one.form,
                allow_redirects=False,
                proxy=proxy(URL(one.url, encoded=True)),
            ) as response:
                body = await response.content.read(tokens.MAX_ANSWER)
                while len(body) < tokens.MAX_ANSWER and (more := await response.content.read(tokens.MAX_ANSWER)):
                    body += more
                if response.status < 300:
                    return tokens.answer(body, asyncio.get_running_loop().time())
                if number + 1 < len(attempts) and tokens.try_next(response.status):
                    continue
                if response.status >= 500:
                    raise Unavailable(f"{shown(one.url)} gives no token: status {response.status}")
                raise Unauthenticated(
                    f"{shown(one.url)} gives no token for {' '.join(asked)}: status {response.status}"
                )
        raise AssertionError("unreachable")


def status_error(response: aiohttp.ClientResponse, what: str) -> ContainerdError:
    """The error for a status that is none of success."""
    message = f"{what}: {response.method} {shown(response.url)} was answered with status {response.status}"
    if response.status == 404:
        return NotFound(message)
    if response.status == 401:
        return Unauthenticated(message)
    if response.status == 403:
        return PermissionDenied(message)
    if response.status in _RETRIED:
        return Unavailable(message)
    return InvalidArgument(message)


def _no_tls(exc: aiohttp.ClientConnectorSSLError) -> bool:
    reason = getattr(exc.os_error, "reason", "") or ""
    return reason in (
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "UNKNOWN_PROTOCOL",
        "RECORD_LAYER_FAILURE",
        "PACKET_LENGTH_TOO_LONG",
    )


def _reason(exc: BaseException) -> str:
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {exc.certificate_error}"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, aiohttp.ClientConnectorError) and exc.os_error is not None:
        number = exc.os_error.errno
        return (
            errno.errorcode.get(number, "") + f" ({exc.os_error.strerror or exc.os_error})"
            if number
            else str(exc.os_error)
        )
    if isinstance(exc, aiohttp.ClientPayloadError):
        return "the connection ended early"
    return type(exc).__name__


def _unreachable(method: str, url: str, exc: BaseException) -> ContainerdError:
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return Unavailable(f"{method} {shown(url)}: {_reason(exc)}", hint="name its CA in a hosts.toml (--hosts-dir)")
    if isinstance(exc, aiohttp.ClientConnectorSSLError):
        return Unavailable(
            f"{method} {shown(url)}: TLS failed: {getattr(exc.os_error, 'reason', '')}",
            hint="does it speak plain HTTP?",
        )
    return Unavailable(f"{method} {shown(url)}: {_reason(exc)}")


def proxy(url: URL) -> str | None:
    """The proxy that the daemon's environment names for ``url``; this machine is reached without one.

    (aiohttp's trust_env would also take credentials from root's ~/.netrc, which nobody asked for.)
    """
    host = url.host or ""
    if is_local(f"[{host}]" if ":" in host else host) or proxy_bypass(f"{host}:{url.port}"):
        return None
    return getproxies_environment().get(url.scheme)


def tls_context(host: Host) -> ssl.SSLContext:
    """TLS as the host is configured. Reads files.

    :raises InvalidArgument: a certificate or key cannot be used.
    """
    context = ssl.create_default_context()
    if host.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in host.ca:
        try:
            context.load_verify_locations(cafile=path)
        except OSError as exc:
            raise InvalidArgument(
                f"cannot use the CA certificate {path} of {host.host}: {exc.strerror or exc}"
            ) from exc
    for certificate, key in host.client:
        try:
            context.load_cert_chain(certificate, key or None)
        except OSError as exc:
            raise InvalidArgument(f"cannot use the client certificate {certificate}: {exc.strerror or exc}") from exc
    return context


def session(context: ssl.SSLContext, dial_timeout: float) -> aiohttp.ClientSession:
    """A session for one host."""
    timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=dial_timeout, sock_read=STALLED)
    connector = aiohttp.TCPConnector(ssl=context, limit=16)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,
        read_bufsize=READ_AHEAD,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


@attrs.define
class Opened:
    """The transports of a registry's hosts, and their sessions."""

    transports: list[Transport] = attrs.Factory(list)
    sessions: list[aiohttp.ClientSession] = attrs.Factory(list)

    async def close(self) -> None:
        for one in self.sessions:
            await one.close()
