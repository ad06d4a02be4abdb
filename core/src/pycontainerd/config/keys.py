"""The keys outside of ``[plugins]``, and what any config class says of its keys."""

from __future__ import annotations

import enum
import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from pycontainerd.contracts import durations, platforms
from pycontainerd.contracts.errors import InvalidArgument

from .migrations import LATEST
from .records import CONF_D, DEFAULT_ROOT, DEFAULT_STATE


def _doc(text: str) -> dict[str, str]:
    return {"doc": text}


MAX_SOCKET = 107  # bytes in the path of a unix socket
_NOT_YET = "For the Go containerd; it has no effect on this daemon."


@attrs.frozen
class Debug:
    """What the daemon logs."""

    level: Literal["", "trace", "debug", "info", "warn", "error", "fatal", "panic"] = attrs.field(
        default="",
        metadata=_doc(
            "The least severe messages that are logged: trace, debug, info, warn, error, fatal or panic. Empty: info."
        ),
    )
    format: Literal["", "text", "json"] = attrs.field(
        default="", metadata=_doc("How messages are written: text or json. Empty: text.")
    )
    log_trace_id: bool = attrs.field(default=False, metadata=_doc(f"Add trace ids to messages. {_NOT_YET}"))


@attrs.frozen
class Cgroup:
    """Where the daemon's own process is put."""

    path: str = attrs.field(default="", metadata=_doc(f"The cgroup of the daemon. {_NOT_YET}"))


def _socket(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    path = value.removeprefix("unix://")
    if not path.startswith("/"):
        raise ValueError(f"{attribute.name} must be the absolute path of a unix socket, not {value!r:.200}")
    if len(path.encode()) > MAX_SOCKET:
        raise ValueError(f"{attribute.name} must have at most {MAX_SOCKET} bytes, {value!r:.200} has more")


def _platform(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        platforms.parse(value or "linux")
    except InvalidArgument as exc:
        raise ValueError(f"{attribute.name} is not one: {exc}") from exc


def _deadlines(_instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    for name, text in value.items():
        try:
            seconds = durations.parse(text)
        except InvalidArgument as exc:
            raise ValueError(f"{attribute.name} has for {name} what is no duration: {exc}") from exc
        if not 0 < seconds <= 86400:
            raise ValueError(f"{attribute.name} must have durations above 0 and up to 24h, not {name} = {text!r:.200}")


def _count(_instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if not 1 <= value <= 1000:
        raise ValueError(f"{attribute.name} must be from 1 to 1000, not {value}")


@attrs.frozen
class ProxyPlugin:
    """A plugin in another process, reached over gRPC."""

    type: Literal[
        "snapshot",
        "content",
        "sandbox",
        "diff",
        "io.containerd.snapshotter.v1",
        "io.containerd.content.v1",
        "io.containerd.sandbox.controller.v1",
        "io.containerd.differ.v1",
    ] = attrs.field(metadata=_doc("What it is: snapshot, content, sandbox or diff."))
    address: str = attrs.field(validator=_socket, metadata=_doc("Its unix socket."))
    platform: str = attrs.field(
        default="", validator=_platform, metadata=_doc("The platform it serves. Empty: this machine's.")
    )
    exports: dict[str, str] = attrs.field(factory=dict, metadata=_doc("What introspection tells of it."))
    capabilities: list[str] = attrs.field(factory=list, metadata=_doc("What it can do, in the words of its type."))
    snapshotter: str = attrs.field(
        default="", metadata=_doc("What the other side calls the snapshotter. Empty: as the plugin is called here.")
    )
    namespace: str = attrs.field(
        default="",
        metadata=_doc("The namespace in which all calls are made. Empty: each is made in its caller's."),
    )
    lease: str = attrs.field(
        default="",
        metadata=_doc(
            "The lease, in that namespace, which holds what is made: for a containerd, which collects the rest."
        ),
    )
    timeouts: dict[str, str] = attrs.field(
        factory=dict,
        validator=_deadlines,
        metadata=_doc(
            "Deadlines by the RPC's name, such as Remove; connect is for connecting, default for the others."
        ),
    )
    max_calls: int = attrs.field(
        default=16,
        validator=_count,
        metadata=_doc("How many calls may be under way at once; of each RPC, half of them."),
    )


@attrs.frozen
class StreamProcessor:
    """A program that turns layers of one media type into another."""

    accepts: list[str] = attrs.field(factory=list, metadata=_doc("Media types it reads."))
    returns: str = attrs.field(default="", metadata=_doc("The media type it writes."))
    path: str = attrs.field(default="", metadata=_doc("The program."))
    args: list[str] = attrs.field(factory=list, metadata=_doc("Its arguments."))
    env: list[str] = attrs.field(factory=list, metadata=_doc("Variables added to its environment, as NAME=value."))


@attrs.frozen
class Main:
    """The keys of the main table."""

    version: int = attrs.field(default=LATEST, metadata=_doc("The version of this file's format."))
    root: str = attrs.field(default=DEFAULT_ROOT, metadata=_doc("Where persistent data is."))
    state: str = attrs.field(default=DEFAULT_STATE, metadata=_doc("Where data is that does not outlive a reboot."))
    temp: str = attrs.field(default="", metadata=_doc(f"Where temporary files are. {_NOT_YET}"))
    disabled_plugins: list[str] = attrs.field(factory=list, metadata=_doc("Plugins that are not loaded, by URI."))
    required_plugins: list[str] = attrs.field(
        factory=list, metadata=_doc("Plugins without which the daemon does not start, by URI.")
    )
    oom_score: int = attrs.field(default=0, metadata=_doc(f"The daemon's oom_score_adj. {_NOT_YET}"))
    imports: list[str] = attrs.field(
        factory=lambda: [CONF_D],
        metadata=_doc("More files, which win over this one. A relative path starts at this file's directory."),
    )
    debug: Debug = attrs.field(factory=Debug)
    cgroup: Cgroup = attrs.field(factory=Cgroup)
    proxy_plugins: dict[str, ProxyPlugin] = attrs.field(
        factory=dict, metadata=_doc("Plugins in other processes, by id.")
    )
    timeouts: dict[str, str] = attrs.field(factory=dict, metadata=_doc(f"Deadlines by name, such as 2s. {_NOT_YET}"))
    stream_processors: dict[str, StreamProcessor] = attrs.field(
        factory=dict, metadata=_doc(f"Programs that decode layers, by id. {_NOT_YET}")
    )


NO_EFFECT = ("temp", "oom_score", "cgroup")
# Keys of older files that are taken without a word when they hold nothing.
REMOVED: Mapping[str, str] = {
    "plugin_dir": "plugins are Python packages here: install them, and they are found",
    "no_subreaper": "the option went away with version 1",
    "subreaper": "the option went away with version 1",
}


def doc(config: type[Any], field: attrs.Attribute[Any]) -> str:
    """What a key does: its ``doc`` metadata, or what its class's docstring says where it names it as ``key``."""
    said = field.metadata.get("doc", "")
    if said or not config.__doc__:
        return str(said)
    text = " ".join(inspect.cleandoc(config.__doc__).split())
    parts = [part for part in re.split(r"(?<=[.;])\s+", text) if f"``{field.name}``" in part]
    return " ".join(part.rstrip(";.") + "." for part in parts).replace("``", "")


def summary(config: type[Any]) -> str:
    """The first sentence of a config class's docstring."""
    if not config.__doc__ or config.__doc__.startswith(f"{config.__name__}("):  # attrs writes the latter itself
        return ""
    first = inspect.cleandoc(config.__doc__).split("\n\n")[0]
    return "" if "``" in first else " ".join(first.split())


def defaults(config: type[Any]) -> dict[str, Any]:
    """The table that says what the class says by itself."""
    return table(config())


def table(instance: Any) -> dict[str, Any]:
    """An instance of a config class as a TOML table; what is None is not there."""
    made = {field.name: _plain(getattr(instance, field.name)) for field in attrs.fields(type(instance))}
    return {key: item for key, item in made.items() if item is not None}


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return table(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value))
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def wrapped(text: str) -> list[str]:
    """``text`` as lines of a comment."""
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)
