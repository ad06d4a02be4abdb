"""Who wants to be told: the implementations of hooks among plugins. The only file that touches pluggy.

The kernel knows no hook: the class with the specs is given to it. pluggy gets objects that discovery has loaded, checks
them against the specs and orders them. They are called one by one here, because pluggy ends a call at the first error
and does not say whose it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .calls import call, describe
from .context import Context, Logger
from .errors import KernelError

if TYPE_CHECKING:
    import pluggy


class HookError(KernelError):
    """An implementation of a hook failed; the message has the plugin's URI, ``__cause__`` what it raised."""


@attrs.frozen
class Implementation:
    """One plugin's function for one hook."""

    uri: str
    hook: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]

    def call(self, **values: Any) -> Any:
        """Call it with those of the hook's arguments that it takes.

        :raises HookError: it raised, or called sys.exit.
        """
        try:
            return self.function(*(values[name] for name in self.arguments))
        except (Exception, SystemExit) as exc:
            raise HookError(f"plugin {self.uri}: its hook {self.hook} failed: {describe(exc)}") from exc

    async def call_in_thread(self, deadline: float, **values: Any) -> Any:
        """`call` it in a thread of its own.

        :raises HookError: it raised, or did not finish in ``deadline`` seconds.
        """
        try:
            return await call(lambda: self.call(**values), deadline=deadline, what=f"hook {self.hook}")
        except TimeoutError as exc:
            raise HookError(f"plugin {self.uri}: {exc}") from exc


class Implementations:
    """The implementations among ``plugins()``, objects or modules by URI, which may change at any time. Thread-safe."""

    def __init__(self, specs: type, mark: str, plugins: Callable[[], Mapping[str, Any]]) -> None:
        self._specs = specs
        self._mark = mark
        self._plugins = plugins
        self._known: dict[str, Any] = {}
        self._manager: pluggy.PluginManager | None = None
        self._lock = threading.Lock()

    @classmethod
    def in_types(cls, specs: type, mark: str, context: Context[Any], types: Sequence[str]) -> Implementations:
        """The implementations among the running plugins of ``types``."""
        prefixes = tuple(f"{one}." for one in types)
        running = context.instances
        return cls(specs, mark, lambda: {uri: running.get(uri) for uri in list(running) if uri.startswith(prefixes)})

    def of(self, hook: str) -> list[Implementation]:
        """Who implements ``hook``, in the order in which they are to be called: ``first`` ones, then by URI.

        :raises HookError: a plugin does not fit the specs.
        """
        plugins = self._plugins()
        if not plugins and not self._known:
            return []  # and pluggy is not even imported
        with self._lock:
            manager = self._synced(plugins)
            found = getattr(manager.hook, hook).get_hookimpls()
        return [
            Implementation(one.plugin_name, hook, one.function, tuple(one.argnames))
            for one in sorted(found, key=lambda one: (not one.tryfirst, one.trylast, one.plugin_name))
        ]

    def _synced(self, plugins: Mapping[str, Any]) -> pluggy.PluginManager:
        if self._manager is None:
            self._manager = _manager(self._specs, self._mark)
        for uri in [uri for uri, known in self._known.items() if plugins.get(uri) is not known]:
            self._manager.unregister(name=uri)
            del self._known[uri]
        for uri in sorted(set(plugins) - set(self._known)):
            try:
                self._manager.register(plugins[uri], name=uri)
            except Exception as exc:
                raise HookError(f"plugin {uri} does not fit the hooks: {describe(exc)}") from exc
            self._known[uri] = plugins[uri]
            if not self._manager.get_hookcallers(plugins[uri]):
                Logger(uri).warning("it has no function that is marked as a hook: nothing will be asked of it")
        return self._manager


def _manager(specs: type, mark: str) -> pluggy.PluginManager:
    import pluggy

    class Manager(pluggy.PluginManager):
        """Knows specs and implementations without pluggy's own decorators, so that contracts and plugins need no pluggy."""

        def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
            opts = {"firstresult": False, "historic": False, "warn_on_impl": None, "warn_on_impl_args": None}
            return None if name.startswith("_") or not callable(getattr(module_or_class, name)) else opts

        def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
            if isinstance(getattr(type(plugin), name, None), property):
                return None  # looking at it would run code
            marked = getattr(getattr(plugin, name, None), mark, None)
            opts = {"wrapper": False, "hookwrapper": False, "optionalhook": False, "specname": None}
            return {**opts, **marked} if isinstance(marked, dict) else None

    manager = Manager("pycontainerd")
    manager.add_hookspecs(specs)
    return manager
