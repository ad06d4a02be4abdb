"""What a runtime plugin gives the shim: a driver, which makes a runtime for each container."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from .reaper import Reaper
else:
    Protocol = object  # typing would be a tenth of the memory that all shims share


class Streams:
    """``descriptors`` of a new process (the shim's, to be duplicated), or the ``console`` socket that wants its
    terminal."""

    __slots__ = ("console", "descriptors")

    def __init__(self, descriptors: Mapping[int, int], console: str = "") -> None:
        self.descriptors = descriptors
        self.console = console


class Runtime(Protocol):
    """Drives one container. Every method raises errors of the family that carry the runtime's own last words."""

    io_uid: int
    io_gid: int
    shim_cgroup: str

    async def create(self, streams: Streams, pid_file: str) -> None:
        """Make the container; its first process waits to be started, its pid is in ``pid_file``."""

    async def start(self) -> None: ...

    async def exec(self, exec_id: str, process: bytes, streams: Streams, pid_file: str) -> None:
        """Start another process; ``process`` is an OCI process as JSON."""

    async def kill(self, signal: int, *, everyone: bool = False) -> None: ...

    async def delete(self, *, force: bool = False) -> None:
        """Remove the container; fine when the runtime knows of none."""

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def update(self, resources: bytes) -> None:
        """``resources`` are LinuxResources as JSON."""

    async def pids(self) -> Sequence[int]: ...


class Driver(Protocol):
    """The object that a runtime handler's ``driver`` names."""

    def runtime(
        self,
        reaper: Reaper,
        *,
        namespace: str,
        id: str,  # noqa: A002
        bundle: str,
        options: tuple[str, bytes],
    ) -> Runtime:
        """The runtime of one container. ``options`` are type URL and value of an Any, empty if the client gave none.

        :raises InvalidArgument: ``options`` are not of a type it knows.
        """
