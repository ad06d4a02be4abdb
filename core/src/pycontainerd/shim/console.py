"""Terminals: the socket on which a runtime hands over the controlling end."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios

from pycontainerd.contracts.errors import DeadlineExceeded, Internal

from . import files, loop

_DEADLINE = 30.0


class ConsoleSocket:
    """A unix socket in a directory of its own."""

    def __init__(self) -> None:
        # Short on purpose: a socket's path must fit into 107 bytes, a bundle's may be longer than that.
        self._directory = f"/tmp/ctrd-pty-{os.urandom(8).hex()}"
        self.path = f"{self._directory}/s"
        os.mkdir(self._directory, 0o700)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind(self.path)
            self._socket.listen(1)
        except OSError:
            self.close()
            raise

    async def receive(self) -> int:
        """The controlling end of the terminal, non-blocking.

        :raises DeadlineExceeded: the runtime sent none in time.
        :raises Internal: it sent something else.
        """
        try:
            fds = await loop.within(_DEADLINE, self._receive())
        except TimeoutError:
            raise DeadlineExceeded(f"the runtime sent no terminal within {_DEADLINE:g} s") from None
        if not fds:
            raise Internal("the runtime sent no terminal on the console socket")
        for extra in fds[1:]:
            os.close(extra)
        os.set_inheritable(fds[0], False)
        os.set_blocking(fds[0], False)
        return fds[0]

    async def _receive(self) -> list[int]:
        await loop.readable(self._socket.fileno())
        connection, _ = self._socket.accept()
        with connection:
            await loop.readable(connection.fileno())
            return socket.recv_fds(connection, 4096, 4)[1]

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        files.unlink(self.path)
        try:
            os.rmdir(self._directory)
        except OSError:
            return


def resize(terminal: int, width: int, height: int) -> None:
    """Set the window size."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", min(height, 65535), min(width, 65535), 0, 0))
