"""The configuration as the daemon uses it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from .document import Document, Finding, Path, dotted

DEFAULT_PATH = "/etc/containerd/config.toml"
CONF_D = "/etc/containerd/conf.d/*.toml"
DEFAULT_ROOT = "/var/lib/containerd"
DEFAULT_STATE = "/run/containerd"
DEFAULT_ADDRESS = "/run/containerd/containerd.sock"
MESSAGE_SIZE = 16 << 20  # bytes; what the Go containerd allows by default


class ConfigError(Exception):
    """A configuration that cannot be used; the message has the file, the line where there is one, and the way out."""


class Layer(NamedTuple):
    """One config file: as it is (``text``, ``raw``), and as a document of the latest version."""

    path: str
    version: int
    text: str
    raw: Document
    document: Document


@attrs.frozen
class Settings:
    """The merged configuration, with the names of the latest version, whatever the versions of the files.

    ``origins`` has the ``file:line`` that set each key, ``names`` what that file calls it where that is another name,
    ``layers`` the files in the order in which they apply, ``findings`` what reading them brought up.
    """

    values: Mapping[str, Any]
    origins: Mapping[Path, str]
    files: Sequence[str] = ()
    names: Mapping[Path, Path] = attrs.field(factory=dict)
    layers: Sequence[Layer] = ()
    findings: Sequence[Finding] = ()

    def get(self, *path: str, kind: type | tuple[type, ...] = object, default: Any = None) -> Any:
        """The value at ``path``.

        :raises ConfigError: it is there and not of ``kind``.
        """
        value: Any = self.values
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                return default
            value = value[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            names = kind if isinstance(kind, tuple) else (kind,)
            raise ConfigError(
                f"{self.where(path)}: {dotted(self.names.get(path, path))} must be "
                f"{_a(' or '.join('table' if one is Mapping else one.__name__ for one in names))}, not {value!r:.200}"
            )
        return value

    def where(self, path: Path) -> str:
        """``file:line`` of the key, or of the nearest table around it."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, self.files[-1] if self.files else "the built-in defaults")

    @property
    def root(self) -> str:
        return str(self.get("root", kind=str, default="") or DEFAULT_ROOT)

    @property
    def state(self) -> str:
        return str(self.get("state", kind=str, default="") or DEFAULT_STATE)

    @property
    def address(self) -> str:
        """The gRPC socket: ``[grpc] address``, or version 4's ``[plugins."io.containerd.server.v1.grpc"]``."""
        listener = self.get("plugins", "io.containerd.server.v1.grpc", "address", kind=str, default="")
        return str(listener or self.get("grpc", "address", kind=str, default="") or DEFAULT_ADDRESS)

    @property
    def ttrpc_address(self) -> str:
        listener = self.get("plugins", "io.containerd.server.v1.ttrpc", "address", kind=str, default="")
        return str(listener or self.get("ttrpc", "address", kind=str, default="") or f"{self.address}.ttrpc")

    @property
    def disabled(self) -> Mapping[str, str]:
        return self._uris("disabled_plugins")

    @property
    def required(self) -> Mapping[str, str]:
        return self._uris("required_plugins")

    def check(self) -> None:
        """Look at everything the daemon itself will ask for.

        :raises ConfigError: the first of it that cannot be used.
        """
        for _ in (self.root, self.state, self.address, self.ttrpc_address, self.disabled, self.required):
            pass
        for table in ("plugins", "proxy_plugins", "debug", "grpc", "ttrpc", "metrics"):
            self.get(table, kind=Mapping, default={})
        for key in ("level", "format"):
            self.get("debug", key, kind=str, default="")

    def _uris(self, key: str) -> dict[str, str]:
        found = {}
        for item in self.get(key, kind=list, default=[]):
            if not isinstance(item, str):
                raise ConfigError(f"{self.where((key,))}: {key} must hold plugin URIs, not {item!r}")
            found[item] = self.where((key, item))
        return found

    def plugin(self, uri: str, config: type[Any] | None) -> Any:
        """The table ``[plugins."<uri>"]`` as an instance of ``config`` (None where the plugin takes no config).

        :raises ConfigError: values have the wrong type; says which keys in which file and line.
        """
        table = self.get("plugins", uri, kind=Mapping, default={})
        if config is None:
            return None
        if not table:
            return config()
        wrong = list(self.wrong_values(uri, config))
        if wrong:
            raise ConfigError("; ".join(f"{one.where}: {one.message}" for one in wrong))
        from .typed import build

        return build(config, table, ("plugins", uri), lambda _path, _message: None)

    def wrong_values(self, uri: str, config: type[Any]) -> Iterator[Finding]:
        """An error for each value of the plugin's table that its config class does not take."""
        from .typed import build  # only a config that says something about a plugin pays for this import

        found: list[Finding] = []

        def report(path: Path, message: str) -> None:
            said = self.names.get(path, path)
            found.append(Finding("error", self.where(path), f"[{dotted(said[:-1])}] {said[-1]} {message}"))

        table = self.get("plugins", uri, default={})
        if isinstance(table, Mapping):
            build(config, table, ("plugins", uri), report)
        else:
            report(("plugins", uri), f"must be a table, not {table!r:.200}")
        yield from found

    def unknown_keys(self, uri: str, config: type[Any] | None) -> Iterator[str]:
        """A sentence for each key of the plugin's table that its config does not have."""
        for finding in self.unknown(uri, config):
            yield f"{finding.where}: {finding.message}" + (f"; {finding.hint}" if finding.hint else "")

    def unknown_tables(self, known: Collection[str]) -> Iterator[str]:
        """A sentence for each table of a plugin that nobody knows; ``known`` are the URIs of the plugins here.

        And one for each listener that the configuration asks for and this release does not have.
        """
        table = self.get("plugins", kind=Mapping, default={})
        strange = [uri for uri in table if uri not in known]
        if strange:
            from .plugins import Plugins  # a config with no such table does without the names of all there ever were

            plugins = Plugins(dict.fromkeys(known), {})
            for uri in strange:
                address = ("plugins", uri, "address")
                unserved = plugins.unserved(uri, table[uri])
                severity, message, hint = plugins.absent(uri)
                if unserved:
                    yield f"{self.where(address)}: {dotted(self.names.get(address, address))}: {unserved}"
                elif severity == "warning":
                    yield f"{self.where(('plugins', uri))}: {message}" + (f"; {hint}" if hint else "")

    def unknown_listed(self, known: Collection[str]) -> Iterator[str]:
        """A sentence for each name in the lists of disabled and required plugins that nobody knows."""
        for table in ("disabled", "required"):
            strange = {uri: where for uri, where in getattr(self, table).items() if not _names(uri, known)}
            if strange:
                from .plugins import Plugins

                plugins = Plugins(dict.fromkeys(known), {})
                for uri, where in strange.items():
                    severity, message, hint = plugins.absent(uri)
                    if severity == "warning":
                        yield f"{where}: {table}_plugins: {message}" + (f"; {hint}" if hint else "")

    def unknown(self, uri: str, config: type[Any] | None) -> Iterator[Finding]:
        """The same as findings."""
        known = [field.name for field in attrs.fields(config)] if config is not None else []
        table = self.get("plugins", uri, default={})
        unknown = [key for key in table if key not in known] if isinstance(table, Mapping) else []
        if unknown:
            from .plugins import GO_KEYS

            for key in unknown:
                if key in GO_KEYS.get(uri, ()):
                    continue  # `containerd config check` tells of it
                near = difflib.get_close_matches(key.lower(), known, n=1)
                where = self.where(("plugins", uri, key))
                hint = f"did you mean {near[0]!r}?" if near else ""
                yield Finding("warning", where, f"unknown key {key!r} of {uri}", hint)


def _names(uri: str, known: Collection[str]) -> bool:
    """Whether ``uri``, which may be an id alone, is one of ``known``."""
    return uri in known or ("." not in uri and any(one.endswith(f".{uri}") for one in known))


def _a(name: str) -> str:
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"
