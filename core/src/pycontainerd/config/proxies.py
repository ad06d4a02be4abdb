"""The tables ``[proxy_plugins.NAME]``: which plugins they make, and everything that is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import attrs

from pycontainerd.kernel.errors import RegistrationError
from pycontainerd.kernel.registration import split_uri

from .document import Finding, Path, dotted
from .keys import ProxyPlugin
from .typed import build, snake

TYPES: Mapping[str, str] = {
    "snapshot": "io.containerd.snapshotter.v1",
    "content": "io.containerd.content.v1",
    "sandbox": "io.containerd.sandbox.controller.v1",
    "diff": "io.containerd.differ.v1",
}
BROKEN = "io.containerd.proxy.v1"  # the type of a table that says no plugin's type
Where = Callable[[Path], str]


@attrs.frozen
class Proxy:
    """One table. ``config`` is None where there are ``errors``; then ``type`` and ``name`` only serve to speak of it."""

    type: str
    name: str
    where: str
    config: ProxyPlugin | None = None
    errors: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()

    @property
    def uri(self) -> str:
        """The plugin that the table makes."""
        return f"{self.type}.{self.name}"


def read(table: object, where: Where, taken: Collection[str]) -> Iterator[Proxy]:
    """What the table ``proxy_plugins`` makes.

    :param where: ``file:line`` of a key's path.
    :param taken: URIs of installed plugins.
    """
    if not isinstance(table, Mapping):
        return
    for number, (name, entry) in enumerate(table.items(), 1):
        yield _read(str(name), number, entry, where, taken)


def _read(name: str, number: int, entry: object, where: Where, taken: Collection[str]) -> Proxy:
    spoken = name
    path = ("proxy_plugins", name)
    here = where(path)
    errors: list[Finding] = []

    def report(at: Path, message: str) -> None:
        errors.append(Finding("error", where(at), f"{dotted(at)} {message}"))

    config: ProxyPlugin | None = None
    if isinstance(entry, Mapping):
        config = build(ProxyPlugin, entry, path, report)
    else:
        report(path, f"must be a table, not {entry!r:.200}")
    try:
        split_uri(f"{BROKEN}.{name}")
    except RegistrationError:
        spoken = f"unnamed-{number}"
        report(path, "has a name that is no plugin id: use letters, digits, '.', '_' and '-'")
    type_ = TYPES.get(config.type, config.type) if config is not None else BROKEN
    uri = f"{type_}.{name}"
    if config is not None and uri in taken:
        report(path, f"would be {uri}, which is installed already; give it another name")
    if config is not None and config.lease and not config.namespace:
        report((*path, "lease"), "is of a namespace: name that too")
    if errors:
        return Proxy(BROKEN, spoken, here, errors=tuple(errors))
    return Proxy(type_, name, here, config, warnings=tuple(_unknown(path, entry, where)))


def _unknown(path: Path, entry: Any, where: Where) -> Iterator[Finding]:
    known = [field.name for field in attrs.fields(ProxyPlugin)]
    for key in entry:
        if snake(key) not in known:
            near = difflib.get_close_matches(snake(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else ""
            yield Finding("warning", where((*path, key)), f"unknown key {dotted((*path, key))}", hint)
