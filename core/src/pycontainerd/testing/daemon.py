"""A real daemon, ours or the Go containerd, with directories and sockets of its own.

with Daemon.ours() as daemon:
    subprocess.run(["ctr", "-a", daemon.address, "version"], check=True)

Leaving the ``with`` ends the daemon and everything it started, and removes all that it made.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

from pycontainerd.contracts.errors import ContainerdError, DeadlineExceeded, FailedPrecondition
from pycontainerd.contracts.types import EMPTY

from . import leftovers

Kind = Literal["ours", "go"]
READY = 30.0  # seconds to the first answer
ENDED = 20.0  # seconds from SIGTERM to the end
_LOG_TAIL = 4000

_CONFIG = """\
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{directory}/c.sock"
[ttrpc]
  address = "{directory}/c.sock.ttrpc"
[debug]
  level = "debug"
"""
# CRI needs a network, tracing an endpoint, and neither is what tests of the core are about.
_GO_DISABLED = (
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
)
# Without it the Go containerd makes /opt/containerd.
_GO_CONFIG = """\
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
"""


class Daemon:
    """A daemon that can be started, stopped, killed and started again on the same directories.

    :param command: the executable with its arguments; ``-c config.toml`` is added.
    :param config: TOML that is added to the configuration.
    :param disabled: plugins that are switched off.
    :param environment: variables added to this process's; one set to "" is left out.
    :param directory: where everything of it is. Without one a new short one under /tmp, removed by `close`.
    """

    def __init__(
        self,
        kind: Kind,
        command: Sequence[str],
        *,
        config: str = "",
        environment: Mapping[str, str] = EMPTY,
        directory: str = "",
        disabled: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.command = list(command)
        self._owned = not directory
        # Short, because the path of a unix socket has at most 107 bytes.
        self.directory = os.path.realpath(directory or tempfile.mkdtemp(prefix="pyc-", dir="/tmp"))
        self.root = f"{self.directory}/root"
        self.state = f"{self.directory}/state"
        self.address = f"{self.directory}/c.sock"
        self.log_path = f"{self.directory}/log"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment
        text = _CONFIG + (_GO_CONFIG if kind == "go" else "")
        with open(f"{self.directory}/config.toml", "w", encoding="utf-8") as file:
            off = ", ".join(f'"{uri}"' for uri in (*disabled, *(_GO_DISABLED if kind == "go" else ())))
            file.write(text.format(directory=self.directory, disabled=off) + config)

    @classmethod
    def ours(
        cls,
        *,
        config: str = "",
        environment: Mapping[str, str] = EMPTY,
        directory: str = "",
        disabled: Sequence[str] = (),
    ) -> Self:
        """This package's daemon, run by this interpreter."""
        command = [sys.executable, "-m", "pycontainerd.server.main"]
        return cls("ours", command, config=config, environment=environment, directory=directory, disabled=disabled)

    @classmethod
    def go(
        cls, executable: str = "", *, config: str = "", environment: Mapping[str, str] = EMPTY, directory: str = ""
    ) -> Self:
        """The Go containerd: ``executable``, else what GO_CONTAINERD names, else the distribution's."""
        command = [executable or os.environ.get("GO_CONTAINERD", "/usr/bin/containerd")]
        return cls("go", command, config=config, environment=environment, directory=directory)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """:raises FailedPrecondition: it does not run."""
        if self.process is None:
            raise FailedPrecondition(f"the daemon in {self.directory} is not running")
        return self.process.pid

    def start(self, timeout: float = READY) -> None:
        """Start it and wait until it answers a call.

        :raises FailedPrecondition: it runs already, or has ended before it answered; the message has the end of its log.
        :raises DeadlineExceeded: it did not answer in time.
        """
        if self.process is not None:
            raise FailedPrecondition(f"the daemon in {self.directory} is running already")
        extra = {**os.environ, leftovers.MARK: self.directory, **self._environment}
        environment = {key: value for key, value in extra.items() if value}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "-c", f"{self.directory}/config.toml"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        self._wait_ready(time.monotonic() + timeout)

    def _wait_ready(self, end: float) -> None:
        assert self.process is not None
        while not (_connects(self.address) and _answers(self.address)):
            if self.process.poll() is not None:
                status, self.process = self.process.returncode, None
                raise FailedPrecondition(f"the daemon ended with status {status} before it served:\n{self.log_tail()}")
            if time.monotonic() > end:
                raise DeadlineExceeded(f"the daemon does not answer on {self.address}:\n{self.log_tail()}")
            time.sleep(0.02)

    def stop(self, timeout: float = ENDED) -> int:
        """SIGTERM, and wait for its end (containers stay); returns its exit status. Fine when it does not run.

        :raises DeadlineExceeded: it did not end; it is killed then.
        """
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self._ended(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DeadlineExceeded(
                f"the daemon did not end within {timeout:g} s of SIGTERM:\n{self.log_tail()}"
            ) from None

    def kill(self) -> None:
        """SIGKILL: what a crash does. Containers stay."""
        if self.process is not None:
            self.process.kill()
            self._ended(ENDED)

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """SIGHUP."""
        os.kill(self.pid, signal.SIGHUP)

    def _ended(self, timeout: float) -> int:
        assert self.process is not None
        status = self.process.wait(timeout)
        self.process = None
        return status

    def log(self) -> str:
        """All that it has logged, over all its runs."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, size: int = _LOG_TAIL) -> str:
        return self.log()[-size:]

    def leftovers(self) -> list[str]:
        """What is there although no container should be: shims, processes, mounts, cgroups. One line for each."""
        return leftovers.find(self.directory, self.process.pid if self.process else 0)

    def tree(self) -> list[str]:
        """Every path below root and state but for databases and logs: to compare before and after."""
        found = []
        for base in (self.root, self.state):
            for directory, directories, files in os.walk(base):
                names = [name for name in files if ".db" not in name and not name.endswith(".log")]
                found += [
                    os.path.relpath(os.path.join(directory, name), self.directory) for name in directories + names
                ]
        return sorted(found)

    def close(self) -> None:
        """End it and everything it started, unmount, and remove its cgroups and directories."""
        try:
            if self.process is not None:
                self.stop(5)
        except ContainerdError:
            pass  # killed; the log goes with the directory, and what a test has to say about it, it has said
        finally:
            leftovers.remove(self.directory)
            if self._owned:
                shutil.rmtree(self.directory, ignore_errors=True)


def _connects(address: str) -> bool:
    """Cheap, and first: a gRPC channel that fails to connect waits a second before it tries again."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(address)
        except OSError:
            return False
    return True


def _same(data: bytes) -> bytes:
    return data


def _answers(address: str) -> bool:
    import grpc

    with grpc.insecure_channel(f"unix://{address}", options=[("grpc.default_authority", "localhost")]) as channel:
        call = channel.unary_unary("/containerd.services.version.v1.Version/Version", _same, _same)
        try:
            call(b"", timeout=5)
        except grpc.RpcError:
            return False
    return True
