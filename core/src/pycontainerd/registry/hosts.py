"""Which hosts serve a registry, and how to reach each: ``hosts.toml`` and Docker's directories of certificates.

The format is containerd's docs/hosts.md: a directory per registry (``<host>_<port>_``, ``<host>`` or ``_default``).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs
import tomli

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import EMPTY

CAPABILITIES = frozenset({"pull", "resolve", "push", "referrers"})
CONNECT = 30.0  # seconds
MAX_FILE = 1 << 20  # bytes
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@attrs.frozen
class Host:
    """One endpoint. ``fallback``: try HTTPS first, and HTTP where the other side speaks no TLS."""

    scheme: str
    host: str
    path: str = "/v2"
    capabilities: frozenset[str] = CAPABILITIES
    ca: Sequence[str] = ()
    client: Sequence[tuple[str, str]] = ()
    skip_verify: bool | None = None
    headers: Mapping[str, Sequence[str]] = attrs.field(default=EMPTY, repr=False)
    dial_timeout: float = CONNECT
    fallback: bool = False

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"


def configured(registry: str, root: str = "", scheme: str = "") -> list[Host]:
    """The endpoints of ``registry`` in the order to try. Reads files, so call it off the event loop.

    :raises InvalidArgument: a file of its configuration cannot be used; says which and why.
    """
    directory = find(root, registry) if root else ""
    found = _load(directory) if directory else [Host("", "")]
    hosts = [_default(host, registry, scheme) if not host.host else host for host in found]
    return [_settled(host) for host in hosts]


def find(root: str, registry: str) -> str:
    """The directory that configures ``registry``, "" for none."""
    if os.sep in registry or registry in ("", ".", ".."):
        raise InvalidArgument(f"{registry!r} is not a registry's host")
    name, colon, port = registry.rpartition(":")
    names = [f"{name}_{port}_"] if colon and port.isdecimal() else []
    for candidate in (*names, registry, "_default"):
        path = os.path.join(root, candidate)
        if os.path.isdir(path):
            return path
    return ""


def is_local(host: str) -> bool:
    """True for localhost and loopback addresses, with or without a port."""
    name = urlsplit(f"//{host}").hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost"


def _port(host: str) -> str:
    return host.rpartition(":")[2] if re.search(r":\d+\Z", host) else ""


def _default(host: Host, registry: str, scheme: str) -> Host:
    """What is not said: the registry itself, over HTTPS unless it is on this machine."""
    if registry == "docker.io":
        return attrs.evolve(host, scheme="https", host="registry-1.docker.io", path="/v2")
    host = attrs.evolve(host, host=registry, path="/v2")
    if scheme or not is_local(registry):
        return attrs.evolve(host, scheme=scheme or "https")
    port = _port(registry)
    skip_verify = host.skip_verify if port == "80" or host.skip_verify is not None or host.ca else True
    return attrs.evolve(host, scheme="https" if port in ("", "443") else "http", skip_verify=skip_verify)


def _settled(host: Host) -> Host:
    """HTTP with a TLS configuration means: prefer HTTPS."""
    tls = bool(host.ca or host.client) or host.skip_verify is not None
    if host.scheme == "http" and tls and _port(host.host) != "80":
        return attrs.evolve(host, scheme="https", fallback=True)
    return host


def _load(directory: str) -> list[Host]:
    path = os.path.join(directory, "hosts.toml")
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        data = b""
    except OSError as exc:
        raise InvalidArgument(f"cannot read {path}: {exc.strerror}") from exc
    return parse(data, directory) if data.strip() else [_certificates(directory)]


def parse(data: bytes, directory: str) -> list[Host]:
    """The endpoints in a hosts.toml, in the order of the file, the server last.

    :raises InvalidArgument: it is not valid; says what and where.
    """
    path = os.path.join(directory, "hosts.toml")
    if len(data) > MAX_FILE:
        raise InvalidArgument(f"{path} is larger than {MAX_FILE} bytes")
    try:
        table = tomli.loads(data.decode())
    except (UnicodeDecodeError, tomli.TOMLDecodeError) as exc:
        raise InvalidArgument(f"{path}: {exc}") from None
    reader = _Reader(path, directory)
    hosts = reader.typed(table, "host", dict, {})
    found = [reader.host(url, reader.typed(hosts, url, dict, {})) for url in hosts]
    return [*found, reader.host(reader.typed(table, "server", str, ""), table)]


@attrs.frozen
class _Reader:
    """Values of one file, checked."""

    path: str
    directory: str

    def typed(self, table: Mapping[str, Any], key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = table.get(key, default)
        if value is not default and not isinstance(value, kind):
            raise self.error(f"{key} must not be {value!r:.100}")
        return value

    def error(self, message: str) -> InvalidArgument:
        return InvalidArgument(f"{self.path}: {message}", hint="containerd's docs/hosts.md describes the format")

    def host(self, server: str, table: Mapping[str, Any]) -> Host:
        return Host(
            *self._url(server, bool(self.typed(table, "override_path", bool, False))),
            capabilities=self._capabilities(self.typed(table, "capabilities", list, [])),
            ca=tuple(self._paths(self.typed(table, "ca", (str, list), []), "ca")),
            client=tuple(self._pairs(self.typed(table, "client", (str, list), []))),
            skip_verify=self.typed(table, "skip_verify", bool, None),
            headers=self._headers(self.typed(table, "header", dict, {})),
            dial_timeout=self._duration(self.typed(table, "dial_timeout", str, "")),
        )

    def _url(self, server: str, override: bool) -> tuple[str, str, str]:
        if not server:
            return "", "", "/v2"
        try:
            parts = urlsplit(server if server.startswith("http") else f"https://{server}")
        except ValueError as exc:
            raise self.error(f"{server!r} is not a URL: {exc}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise self.error(f"{server!r} is not an HTTP URL of a host")
        path = posixpath.normpath(parts.path) if parts.path else ""
        if not path.endswith("/v2") and not override:
            path = f"{path.rstrip('/')}/v2"
        return parts.scheme, parts.netloc, path

    def _capabilities(self, names: Sequence[Any]) -> frozenset[str]:
        wanted = [name.lower() if isinstance(name, str) else name for name in names]
        for name in wanted:
            if name not in CAPABILITIES:
                raise self.error(f"{name!r} is no capability, they are {', '.join(sorted(CAPABILITIES))}")
        return frozenset(wanted) or CAPABILITIES

    def _paths(self, value: str | list[Any], key: str) -> list[str]:
        values = [value] if isinstance(value, str) else value
        if not all(isinstance(item, str) for item in values):
            raise self.error(f"{key} must hold paths, not {value!r:.100}")
        return [os.path.join(self.directory, item) for item in values]

    def _pairs(self, value: str | list[Any]) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        for item in [value] if isinstance(value, str) else value:
            paths = self._paths(item if isinstance(item, (str, list)) else [item], "client")
            if len(paths) not in (1, 2):
                raise self.error(f"client must hold files or pairs of certificate and key, not {item!r:.100}")
            pairs.append((paths[0], paths[1] if len(paths) == 2 else ""))
        return pairs

    def _headers(self, table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        headers: dict[str, tuple[str, ...]] = {}
        for key, value in table.items():
            values = [value] if isinstance(value, str) else value
            texts = isinstance(values, list) and all(isinstance(item, str) and item.isprintable() for item in values)
            if not texts or not key.isprintable():
                raise self.error(f"header {key!r} must be a string or a list of strings")
            headers[key] = tuple(values)
        return headers

    def _duration(self, text: str) -> float:
        if not text:
            return CONNECT
        parts = _DURATION.findall(text)
        if "".join(number + unit for number, unit in parts) != text:
            raise self.error(
                f"dial_timeout {text!r} is not a duration",
            )
        return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _certificates(directory: str) -> Host:
    """Docker's layout: ``*.crt`` are CAs, ``*.cert`` with ``*.key`` are for the client."""
    names = sorted(os.listdir(directory))
    full: Callable[[str], str] = lambda name: os.path.join(directory, name)  # noqa: E731
    keys = {name.removesuffix(".key") for name in names if name.endswith(".key")}
    pairs = [
        (full(name), full(f"{name.removesuffix('.cert')}.key") if name.removesuffix(".cert") in keys else "")
        for name in names
        if name.endswith(".cert")
    ]
    return Host("", "", ca=tuple(full(name) for name in names if name.endswith(".crt")), client=tuple(pairs))
