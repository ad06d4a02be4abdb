"""Two daemons to compare, each with its own root, state and socket in a temporary directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CONFIG = """\
version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{dir}/c.sock"
[ttrpc]
  address = "{dir}/c.sock.ttrpc"
[debug]
  level = "error"
"""


class Daemon:
    """A daemon under measurement; ``name`` is ``ours`` or ``go``."""

    def __init__(self, name: str, command: list[str], directory: str) -> None:
        self.name = name
        self.command = command
        self.directory = directory
        self.address = f"{directory}/c.sock"
        self.process: subprocess.Popen[bytes] | None = None
        Path(directory).mkdir(parents=True, exist_ok=True)
        Path(directory, "config.toml").write_text(CONFIG.format(dir=directory))

    def start(self) -> float:
        """Start and wait until it answers an RPC; returns the seconds that took."""
        began = time.monotonic()
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "-c", f"{self.directory}/config.toml"], stdout=log, stderr=log, start_new_session=True
            )
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended early: {Path(self.directory, 'log').read_text()[-2000:]}")
            if answers(self.address):
                return time.monotonic() - began
            time.sleep(0.002)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def ctr(self, *args: str, **kwargs: object) -> subprocess.CompletedProcess[bytes]:
        """Run the Go client, the same one for both daemons."""
        return subprocess.run(
            [go_client(), "-a", self.address, *args],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=120,
            **kwargs,  # type: ignore[call-overload,no-any-return]
        )


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def answers(address: str) -> bool:
    """True once the daemon at ``address`` has answered Version: a gRPC call by hand, so that no client start-up counts."""
    headers = b"".join(
        (
            _literal(b":method", b"POST"),
            _literal(b":scheme", b"http"),
            _literal(b":path", b"/containerd.services.version.v1.Version/Version"),
            _literal(b":authority", b"localhost"),
            _literal(b"te", b"trailers"),
            _literal(b"content-type", b"application/grpc"),
        )
    )
    request = _PREFACE + _SETTINGS + _frame(1, 4, 1, headers) + _frame(0, 1, 1, b"\0" * 5)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(5)
        try:
            sock.connect(address)
            sock.sendall(request)
            return _read_until_data(sock)
        except OSError:
            return False


def _read_until_data(sock: socket.socket) -> bool:
    buffer = b""
    while True:
        while len(buffer) >= 9:
            length, kind, stream = int.from_bytes(buffer[:3], "big"), buffer[3], int.from_bytes(buffer[5:9], "big")
            if len(buffer) < 9 + length:
                break
            if kind == 0 and stream == 1 and length:
                return True
            if kind in (3, 7):
                return False
            buffer = buffer[9 + length :]
        chunk = sock.recv(65536)
        if not chunk:
            return False
        buffer += chunk


def go_client() -> str:
    return os.environ.get("GO_CTR", "/usr/bin/ctr")


@contextlib.contextmanager
def pair() -> Iterator[tuple[Daemon, Daemon]]:
    """Ours and the Go containerd (``GO_CONTAINERD`` names another binary than the distribution's), not yet started."""
    directory = tempfile.mkdtemp(prefix="pycontainerd-bench.")
    ours = Daemon("ours", [str(Path(sys.executable).parent / "containerd")], f"{directory}/ours")
    theirs = Daemon("go", [os.environ.get("GO_CONTAINERD", "/usr/bin/containerd")], f"{directory}/go")
    try:
        yield ours, theirs
    finally:
        for daemon in (ours, theirs):
            daemon.stop()
        shutil.rmtree(directory, ignore_errors=True)
