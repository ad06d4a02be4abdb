"""The plugins that the tables ``[proxy_plugins.NAME]`` make.

Only a daemon whose config has such a table imports this, and nothing here imports gRPC before a plugin starts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pycontainerd.config.keys import ProxyPlugin
from pycontainerd.config.proxies import TYPES, Proxy, read
from pycontainerd.config.records import ConfigError, Settings
from pycontainerd.contracts import durations, platforms
from pycontainerd.contracts.errors import Unavailable
from pycontainerd.contracts.types import Scope
from pycontainerd.kernel import Context, Later, Registration
from pycontainerd.kernel.discovery import GROUP, Found

from .calls import Calls

if TYPE_CHECKING:
    from .link import Link

log = logging.getLogger("containerd.proxy")

_CALLS = Calls()  # one process has one pool of workers, so all proxies share the bound on them
_START = 10.0  # seconds to start, connecting not counted


def proxies(settings: Settings) -> Mapping[str, Found]:
    """A plugin for each table. A table with mistakes makes a plugin that fails and says why, with file and line."""
    taken = entry_points(group=GROUP).names
    found: dict[str, Found] = {}
    for proxy in read(settings.get("proxy_plugins"), settings.where, taken):
        for warning in proxy.warnings:
            log.warning(str(warning))
        made_of = (proxy.config, proxy.errors)
        found[proxy.uri] = Found(proxy.uri, "proxy", proxy.where, _registration(proxy), made_of=made_of)
    return found


def _registration(proxy: Proxy) -> Registration:
    if proxy.config is None:
        return Registration(type=proxy.type, id=proxy.name, init=partial(_fail, proxy))
    deadlines = {method: durations.parse(text) for method, text in proxy.config.timeouts.items()}
    start = partial(_start, proxy, proxy.config, deadlines)
    return Registration(
        type=proxy.type,
        id=proxy.name,
        init=start,
        close=_close,
        deadline=_START + deadlines.get("connect", 0.0),
    )


def _fail(proxy: Proxy, _ctx: Context[None]) -> None:
    raise ConfigError("; ".join(f"{one.where}: {one.message}" for one in proxy.errors))


def _start(proxy: Proxy, config: ProxyPlugin, deadlines: Mapping[str, float], ctx: Context[None]) -> Any:
    from .link import CONNECT, Limits, Link

    platform = platforms.parse(config.platform) if config.platform else platforms.default_platform()
    ctx.platforms.append(platforms.format(platform))
    ctx.exports.update(config.exports, address=config.address)
    ctx.capabilities.extend(config.capabilities)
    defaults, make = _kind(proxy, config)
    limits = Limits({**defaults, **deadlines}, deadlines.get("connect", CONNECT), config.max_calls)

    def tell(sentence: str) -> None:
        ctx.exports["connection"] = sentence  # the report shows what is in there now

    tell("it was never reached")
    link = Link(proxy.uri, config.address, limits=limits, calls=_CALLS, tell=tell)
    try:
        link.connect()
    except Unavailable as exc:
        link.close()
        raise Later(str(exc), hint=f"start what serves it; {proxy.where} names it") from exc
    tell("it answers")
    return make(link)


def _kind(proxy: Proxy, config: ProxyPlugin) -> tuple[Mapping[str, float], Callable[[Link], Any]]:
    """The deadlines of the type's calls, and what makes its plugin on a connection."""
    scope = Scope(config.namespace, config.lease) if config.namespace else None
    if proxy.type == TYPES["snapshot"]:
        from . import snapshotter

        name = config.snapshotter or proxy.name
        return snapshotter.DEADLINES, lambda link: snapshotter.ProxySnapshotter(link, name, scope)
    if proxy.type == TYPES["content"]:
        from . import content

        return content.DEADLINES, lambda link: content.ProxyContentStore(link, scope)
    if proxy.type == TYPES["diff"]:
        from . import diff

        return diff.DEADLINES, lambda link: diff.ProxyDiffer(link, scope)
    from . import sandbox

    return sandbox.DEADLINES, lambda link: sandbox.ProxySandboxController(link, proxy.name, scope)


def _close(instance: Any) -> None:
    instance.close()
