"""What a plugin's init gets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs

from .errors import KernelError

C = TypeVar("C")


class Logger:
    """A logger bound to a plugin: ``log.info("message", key=value)``."""

    def __init__(self, uri: str) -> None:
        self._log = logging.getLogger("containerd")
        self._uri = uri

    def _emit(self, level: int, message: str, fields: dict[str, Any], exc: BaseException | None = None) -> None:
        if self._log.isEnabledFor(level):
            self._log.log(level, message, exc_info=exc, extra={"fields": {"plugin": self._uri, **fields}})

    def debug(self, message: str, **fields: Any) -> None:
        self._emit(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        self._emit(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self._emit(logging.WARNING, message, fields)

    def error(self, message: str, *, exc: BaseException | None = None, **fields: Any) -> None:
        self._emit(logging.ERROR, message, fields, exc)


class Plugins(Mapping[str, Any]):
    """The running plugins of one type by id: a view that changes as plugins start and stop. Safe in any thread."""

    def __init__(self, instances: Mapping[str, Any], type: str) -> None:  # noqa: A002 - the field's name
        self._instances = instances
        self._prefix = f"{type}."

    def __getitem__(self, id: str) -> Any:  # noqa: A002
        return self._instances[self._prefix + id]

    def __iter__(self) -> Iterator[str]:
        size = len(self._prefix)
        return iter([uri[size:] for uri in list(self._instances) if uri.startswith(self._prefix)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Plugins({self._prefix}*: {', '.join(self)})"


@attrs.define
class Daemon:
    """The process a kernel runs in: what every plugin may know of it.

    ``config`` is the daemon's whole configuration (read it, don't keep it); ``zygote`` starts shims, or is None;
    ``services`` are the RPC services of the API by name; ``report`` gives the current `Report`;
    ``reload`` reads the configuration anew (its argument: only say what would change).
    """

    root: str
    state: str
    address: str = ""
    ttrpc_address: str = ""
    version: str = ""
    revision: str = ""
    config: Any = None
    zygote: Any = None
    services: Sequence[str] = ()
    report: Callable[[], Any] = lambda: None
    reload: Callable[[bool], Awaitable[Any]] | None = None


@attrs.define
class Context(Generic[C]):
    """Handed to init. ``root`` and ``state`` are this plugin's own directories, persistent and volatile."""

    uri: str
    config: C
    root: str
    state: str
    daemon: Daemon
    loop: asyncio.AbstractEventLoop
    log: Logger
    exports: dict[str, str] = attrs.field(factory=dict)
    capabilities: list[str] = attrs.field(factory=list)
    platforms: list[str] = attrs.field(factory=list)
    instances: Mapping[str, Any] = attrs.field(factory=dict)

    def by_id(self, uri: str) -> Any:
        """The instance of the plugin ``uri``.

        :raises KernelError: it is not ok (require it, and the kernel says why before init runs).
        """
        try:
            return self.instances[uri]
        except KeyError:
            raise KernelError(f"{self.uri} asked for {uri}, which is not running") from None

    def by_type(self, type: str) -> Plugins:  # noqa: A002 - the field's name
        """The running plugins of a type, by id: a live view. Keep the view, not what it holds now."""
        return Plugins(self.instances, type)

    def single(self, type: str) -> Any:  # noqa: A002
        """The one instance of a type.

        :raises KernelError: there is none, or more than one.
        """
        found = self.by_type(type)
        if len(found) != 1:
            raise KernelError(f"{self.uri} wants one plugin of type {type}, there are {len(found)}: {sorted(found)}")
        return next(iter(found.values()))
