"""The configuration as the daemon uses it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

DEFAULT_PATH = "/etc/containerd/config.toml"
DEFAULT_ROOT = "/var/lib/containerd"
DEFAULT_STATE = "/run/containerd"
DEFAULT_ADDRESS = "/run/containerd/containerd.sock"
MESSAGE_SIZE = 16 << 20  # bytes; what the Go containerd allows by default

Path = tuple[str, ...]


class ConfigError(Exception):
    """A configuration that cannot be used; the message has the file, the line where there is one, and the way out."""


@attrs.frozen
class Settings:
    """The merged configuration: ``values`` as TOML gave them, ``origins`` with the ``file:line`` that set each key."""

    values: Mapping[str, Any]
    origins: Mapping[Path, str]
    files: Sequence[str] = ()

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
                f"{self.where(path)}: {'.'.join(path)} must be {_a(' or '.join(one.__name__ for one in names))}, not {value!r}"
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
        self.get("plugins", kind=Mapping, default={})
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

        :raises ConfigError: a value has the wrong type; says which key in which file and line.
        """
        table = self.get("plugins", uri, kind=Mapping, default={})
        if config is None:
            return None
        return config() if not table else self._structure(("plugins", uri), table, config)

    def _structure(self, path: Path, table: Mapping[str, Any], config: type[Any]) -> Any:
        import cattrs  # only a config that says something about a plugin pays for this import

        attrs.resolve_types(config)  # in a module with postponed annotations they are strings
        known = {field.name: field for field in attrs.fields(config)}
        values = {}
        for key, value in table.items():
            if key not in known:
                continue
            try:
                values[key] = cattrs.structure(value, known[key].type or object)
                if isinstance(value, (bool, int, float, str)) and type(values[key]) is not type(value):
                    raise TypeError(f"{value!r} is not of the right type")
            except Exception as exc:
                wanted = getattr(known[key].type, "__name__", known[key].type)
                raise ConfigError(
                    f"{self.where((*path, key))}: [{_dotted(path)}] {key} must be {_a(str(wanted))}, not {value!r}"
                ) from exc
        return config(**values)

    def unknown_keys(self, uri: str, config: type[Any] | None) -> Iterator[str]:
        """A sentence for each key of the plugin's table that its config does not have."""
        known = [field.name for field in attrs.fields(config)] if config is not None else []
        for key in self.get("plugins", uri, kind=Mapping, default={}):
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                yield f"{self.where(('plugins', uri, key))}: unknown key {key!r} of {uri}" + (
                    f"; did you mean {near[0]!r}?" if near else ""
                )


def _a(name: str) -> str:
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def _dotted(path: Path) -> str:
    return ".".join(f'"{part}"' if "." in part else part for part in path)
