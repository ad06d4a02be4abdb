"""The daemon process: zygote first, then the event loop, the kernel, and signals until the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from pycontainerd import API_VERSION
from pycontainerd.config import Settings
from pycontainerd.kernel import Daemon, Kernel, KernelError, State
from pycontainerd.kernel.discovery import Found
from pycontainerd.shim.zygote import ZygoteClient, spawn
from pycontainerd.sys.libc import reuse_freed_memory

from .plugindir import finder
from .sdnotify import notify
from .services import PLUGINS
from .startup import Startup

log = logging.getLogger("containerd")
LISTENER = "io.containerd.server.v1.grpc"
MESSAGES = 16 << 20  # bytes of freed memory that are kept: the largest message that is taken
THREADS = 32  # for what coroutines hand to threads, as many as serve calls; made as they are needed


class Process:
    """One run of the daemon."""

    def __init__(
        self, settings: Settings, overrides: Mapping[str, str], config: str = "", startup: Startup | None = None
    ) -> None:
        self._startup = startup or Startup()
        self._settings = settings
        self._overrides = overrides
        self._config = config
        address = overrides.get("address") or settings.address
        self._daemon = Daemon(
            root=os.path.abspath(overrides.get("root") or settings.root),
            state=os.path.abspath(overrides.get("state") or settings.state),
            address=address,
            ttrpc_address=f"{address}.ttrpc" if overrides.get("address") else settings.ttrpc_address,
            version=API_VERSION,
            config=settings,
            services=tuple(PLUGINS),
        )

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; returns the exit status."""
        for directory in (self._daemon.root, self._daemon.state):
            try:
                os.makedirs(directory, mode=0o711, exist_ok=True)
            except OSError as exc:
                log.critical(f"cannot make the directory {directory}: {exc.strerror or exc}")
                return 1
        # Before there is any thread and before anything large is imported: shims are copies of this small process.
        zygote: ZygoteClient = spawn()
        self._daemon.zygote = zygote
        self._startup.mark("zygote")
        reuse_freed_memory(MESSAGES)
        try:
            return asyncio.run(self._serve())
        except KernelError as exc:
            log.critical(str(exc))
            return 1
        finally:
            zygote.close()

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        # The default has a few threads more than processors: few calls that hang would hold up all that needs a thread.
        loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="worker"))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        hangup = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, hangup.set)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        find = self._startup.timed("discovery", finder(self._overrides.get("plugin_dir", "")))
        kernel = Kernel(self._daemon, self._settings, find=find, extra=_proxies)
        starting = asyncio.ensure_future(kernel.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                await starting
                self._startup.mark("plugins")
                self._warn_unknown(kernel)
                listener = kernel.report.rows.get(LISTENER)
                if listener is None or listener.state not in (State.OK, State.DISABLED):
                    # A daemon that nobody can talk to would only look alive.
                    log.critical(kernel.report.why(LISTENER))
                    return 1
                gc.freeze()
                gc.enable()
                notify("READY=1", "STATUS=serving")
                log.info("containerd successfully booted")
                self._startup.finish(kernel.report, self._overrides.get("profile"))
                await self._reload_until(stopping, hangup, kernel)
        finally:
            notify("STOPPING=1")
            starting.cancel()
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError, KernelError):
                await starting
            await kernel.stop()
        return 0

    async def _reload_until(self, stopping: asyncio.Task[Literal[True]], hangup: asyncio.Event, kernel: Kernel) -> None:
        """Wait for the end; meanwhile a SIGHUP, one that came during the start included, reloads the configuration."""
        from .reload import Reloader

        reloader = Reloader(self._config, self._settings, kernel, self._overrides)
        self._daemon.reload = reloader.reload
        while not stopping.done():
            asked = asyncio.ensure_future(hangup.wait())
            await asyncio.wait({asked, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                hangup.clear()
                await reloader.reload(dry_run=False)
            asked.cancel()

    def _warn_unknown(self, kernel: Kernel) -> None:
        """Say what in the config names nothing: a typo would otherwise change nothing and tell nobody."""
        report = kernel.report
        for sentence in self._settings.unknown_listed(report.rows):
            log.warning(sentence)
        for uri, registration in kernel.registrations.items():
            for sentence in self._settings.unknown_keys(uri, registration.config):
                log.warning(sentence)
        here = [row.uri for row in report if row.state is not State.NOT_INSTALLED]
        for sentence in self._settings.unknown_tables(here):
            log.warning(sentence)


def _proxies(settings: Settings) -> Mapping[str, Found]:
    """The plugins in other processes; a config without any does without the code for them."""
    if not settings.get("proxy_plugins"):
        return {}
    from pycontainerd.proxy.registrations import proxies

    return proxies(settings)
