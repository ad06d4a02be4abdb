"""What the shim imports to run containers with crun: runc's command line, with answers of its own."""

from __future__ import annotations

import json
import os

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, Internal, NotFound
from pycontainerd.shim.files import write_private
from pycontainerd.shim.runc import RuncDriver, RuncRuntime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontainerd.shim import loop
    from pycontainerd.shim.driver import Streams

OCI_VERSION = "1.0.2"
HYBRID_HINT = "boot with cgroup v2 alone (kernel parameter systemd.unified_cgroup_hierarchy=1), or use runc"
# crun reads a container's state before it does anything: where there is none, there is no container.
_MISSING = ("/status`: no such file or directory", "cannot open directory '")


class CrunRuntime(RuncRuntime):
    """One container. See `driver.Runtime`."""

    async def create(self, streams: Streams, pid_file: str) -> None:
        """See `driver.Runtime.create`."""
        lower_version(os.path.join(self._bundle, "config.json"))
        await super().create(streams, pid_file)

    async def _finish(self, verb: str, running: tuple[loop.Future, int], log: str) -> None:
        try:
            await super()._finish(verb, running, log)
        except Internal as exc:
            raise translate(verb, exc) from None


def lower_version(path: str) -> None:
    """Have the spec at ``path`` be of a version that every crun takes.

    crun up to 1.8 refuses those after 1.1, although it knows what is in them; no crun does anything by the version.
    """
    try:
        with open(path, "rb") as file:
            spec = json.load(file)
    except (OSError, ValueError, RecursionError):
        return  # crun says what is wrong with it
    if isinstance(spec, dict) and spec.get("ociVersion") != OCI_VERSION:
        spec["ociVersion"] = OCI_VERSION
        write_private(path, json.dumps(spec).encode())


def translate(verb: str, error: Internal) -> ContainerdError:
    """crun's error in the words and the class that the shim knows from runc."""
    said = error.message.lower()
    if "hybrid mode" in said:
        return FailedPrecondition(error.message, hint=HYBRID_HINT)
    if any(text in said for text in _MISSING):
        message = f"{error.message}: the container does not exist"
        return Internal(message) if verb in ("kill", "delete") else NotFound(message)
    return error


driver = RuncDriver(
    "crun",
    runtime=CrunRuntime,
    hint="install crun (Debian, Fedora: the package crun), or set BinaryName in the runtime's options",
)
