"""What a plugin says of itself. A plugin module holds one of these, and its entry point names it."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs

from .errors import RegistrationError

_TYPE = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9-]+)*\.v\d+\Z")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
DEADLINE = 10.0  # seconds an init may take unless its registration says otherwise


def split_uri(uri: str) -> tuple[str, str]:
    """Type and id of a plugin URI: ``io.containerd.snapshotter.v1.native`` is of type ``io.containerd.snapshotter.v1``.

    :raises RegistrationError: it is not of the form TYPE.vN.ID.
    """
    found = re.match(r"(.+?\.v\d+)\.(.+)\Z", uri)
    if not found or not _TYPE.match(found[1]) or not _ID.match(found[2]):
        raise RegistrationError(f"{uri!r} is not a plugin URI: expected <type>.v<number>.<id>")
    return found[1], found[2]


def name_in(names: Collection[str], uri: str) -> str:
    """How ``names`` mentions the plugin ``uri``: by its URI or, as old configs do, by its id alone. Empty: not at all."""
    if uri in names:
        return uri
    try:
        id_ = split_uri(uri)[1]
    except RegistrationError:
        return ""
    return id_ if id_ in names else ""


def is_type(name: str) -> bool:
    """True for a plugin type (``….v1``), False for anything else."""
    return bool(_TYPE.match(name))


def _strings(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise RegistrationError(f"{attribute.name} must be a sequence of types or URIs, not {value!r}")


@attrs.frozen(kw_only=True)
class Registration:
    """One plugin.

    - ``requires``: types or URIs that must be ok first. A type is satisfied by one plugin of it. What is not
      satisfied leaves this plugin ``blocked``.
    - ``wants``: types or URIs that are initialised first where they exist; their absence is no error.
    - ``config``: an attrs class with complete defaults; the table ``[plugins."<uri>"]`` is structured into it.
    - ``platforms``: values of ``sys.platform`` it runs on; elsewhere it is ``skipped`` without init.
    - ``init``: gets a `Context`, returns the instance. A plain function runs in a worker thread, a coroutine function
      on the event loop. It has ``deadline`` seconds. Raising `Skip` leaves the plugin ``skipped``.
    - ``close``: gets the instance at shutdown, in reverse order of start.
    - ``reload``: gets the instance and the new config and applies it while the plugin runs. It returns the names of
      the keys that only a restart can change, or nothing. Raising leaves the old config in force.
    """

    type: str
    id: str
    init: Callable[..., Any]
    requires: Sequence[str] = attrs.field(default=(), validator=_strings)
    wants: Sequence[str] = attrs.field(default=(), validator=_strings)
    config: builtins.type[Any] | None = None
    platforms: Sequence[str] = attrs.field(default=(), validator=_strings)
    close: Callable[[Any], Any] | None = None
    reload: Callable[[Any, Any], Any] | None = None
    deadline: float = DEADLINE

    def __attrs_post_init__(self) -> None:
        if not _TYPE.match(self.type):
            raise RegistrationError(
                f"{self.type!r} is not a plugin type: expected a dotted name that ends in .v<number>"
            )
        if not _ID.match(self.id):
            raise RegistrationError(f"{self.id!r} is not a plugin id (of type {self.type})")
        if self.config is not None and not attrs.has(self.config):
            raise RegistrationError(f"{self.uri}: config must be an attrs class, not {self.config!r}")

    @property
    def uri(self) -> str:
        """``<type>.<id>``, the name of the plugin everywhere."""
        return f"{self.type}.{self.id}"
