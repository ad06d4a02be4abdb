"""What healthy means: the daemon is up, and a service is served when its plugin is ok."""

from __future__ import annotations

from collections.abc import Callable, Iterable

WATCH_INTERVAL = 1.0  # seconds between looks of a watcher
NEVER = object()


class Health:
    """Looks up the state of services by their full protobuf names."""

    def __init__(self, served: Callable[[], Iterable[str]], declared: Iterable[str]) -> None:
        self._served = served
        self._declared = frozenset(declared)

    def state(self, service: str) -> bool | None:
        """True: serving; False: the API has it but it is not served; None: no such service."""
        if service == "" or service in set(self._served()):
            return True
        return False if service in self._declared else None
