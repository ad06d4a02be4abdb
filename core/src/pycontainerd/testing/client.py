"""A command line client (ours, or Debian's ctr) bound to a daemon and a namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import attrs

OURS = (sys.executable, "-m", "pycontainerd.ctr.main")


@attrs.frozen
class Ctr:
    """Calls give standard output; a call that fails raises AssertionError with what it said, unless ``check=False``.

    ``ctr("images", "ls")`` · ``ctr.status("run", …)`` gives the exit status with output and error output.
    """

    command: Sequence[str]
    address: str
    namespace: str = attrs.Factory(lambda: f"ns-{uuid.uuid4().hex[:8]}")
    timeout: float = 60

    def argv(self, *args: str) -> list[str]:
        """The whole command line, for what starts it otherwise."""
        return [*self.command, "-a", self.address, "-n", self.namespace, *args]

    def __call__(self, *args: str, check: bool = True, **kwargs: Any) -> str:
        """Standard output; with ``check=False`` the error output too, whatever the exit status."""
        code, out, error = self.status(*args, **kwargs)
        if check and code != 0:
            raise AssertionError(f"ctr {' '.join(args)}: exit {code}\n{out}\n{error}")
        return out if check else out + error

    def status(self, *args: str, **kwargs: Any) -> tuple[int, str, str]:
        """Exit status, standard output, error output."""
        kwargs.setdefault("stdin", None if "input" in kwargs else subprocess.DEVNULL)
        if kwargs["stdin"] is None:
            del kwargs["stdin"]
        done = subprocess.run(
            self.argv(*args),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=self.timeout,
            env=_environment(),
            **kwargs,
        )
        return done.returncode, done.stdout, done.stderr

    def start(self, *args: str, **kwargs: Any) -> subprocess.Popen[str]:
        """Start it and leave it running; whoever calls ends it."""
        return subprocess.Popen(self.argv(*args), text=True, env=_environment(), **kwargs)


def _environment() -> dict[str, str]:
    """Ours without what would change what clients do."""
    return {key: value for key, value in os.environ.items() if not key.startswith("CONTAINERD_")}


def eventually(check: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait until ``check()`` is true.

    :raises AssertionError: it was not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def plugin_status(address: str, uri: str) -> str:
    """How the daemon at ``address`` says that the plugin ``uri`` is: ``ok``, or what is wrong with it."""
    import asyncio

    from pycontainerd.client import Client

    async def ask() -> str:
        async with Client(address) as client:
            found = await client.introspection.plugin(uri)
            return found.status if found.status == "ok" else f"{found.status}: {found.error}"

    return asyncio.run(ask())
