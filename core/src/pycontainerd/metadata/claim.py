"""Who has the database, and how its last owner ended."""

from __future__ import annotations

import errno
import fcntl
import os
import time

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.sys.boot import boot_id

PATIENCE = 10.0  # seconds to wait for a daemon that is still stopping
_SIZE = 512  # bytes of the file, always: overwriting it in place needs no space, which a full disk has none of
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)

OPENING, OPEN, DAMAGED, CLOSED = "opening", "open", "damaged", "closed"


class Claim:
    """The file ``<database>.lock``: locked while a process has the database, it says how far that process has come.

    It holds the boot id of the machine and a word: the next start knows from them whether the end was orderly, whether
    the power was off in between, and whether damage was seen. ``unclean``: the last owner did not let go in order;
    ``same_boot``: and the machine has been up since; ``was_open``: it had the database open; ``known``: there was a
    database before; ``damaged``: it saw damage. ``seal``: what it said of the file when it closed
    it, and ``copy`` the name of the copy that has the same. ``read_only``: the file system takes no writes.
    """

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        """:raises FailedPrecondition: another process has it, and does not let go within ``patience`` seconds."""
        self._path = path
        self.read_only = False
        self._fd = self._open()
        try:
            if self._fd >= 0:
                self._lock(time.monotonic() + patience)
            boot, word, self.seal, self.copy = self._read()
            self.unclean = bool(boot) and word != CLOSED
            self.same_boot = boot == boot_id()
            self.was_open = self.unclean and word in (OPEN, DAMAGED)
            self.damaged = word == DAMAGED
            self.known = self.was_open or word == CLOSED
            self._say(DAMAGED if self.damaged else OPENING)
        except BaseException:
            self.abandon()
            raise

    def opened(self) -> None:
        """Say that the database is open and well."""
        self._say(OPEN)

    def saw_damage(self) -> None:
        """Say that the database is damaged: the next start shall look whatever the end was."""
        self.damaged = True
        self._say(DAMAGED)

    def release(self, seal: str = "", copy: str = "") -> None:
        """Say that the end was orderly, what the file is and which copy is the same, and let go."""
        if not self.damaged:
            self._say(CLOSED, seal, copy)
        self.abandon()

    def abandon(self) -> None:
        """Let go without saying so: the next start shall look."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            if exc.errno not in _READ_ONLY:
                raise
        self.read_only = True
        try:
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1  # nobody can write here, so there is nobody to be kept out

    def _read(self) -> tuple[str, str, str, str]:
        if self._fd < 0:
            return "", "", "", ""
        lines = os.pread(self._fd, _SIZE, 0).decode("ascii", "replace").split("\n")
        boot, word, seal, copy, *_ = (*(line.strip() for line in lines), "", "", "", "")
        return boot, word, seal, copy

    def _say(self, word: str, seal: str = "", copy: str = "") -> None:
        if self.read_only or self._fd < 0:
            return
        os.pwrite(self._fd, f"{boot_id()}\n{word}\n{seal}\n{copy}\n".ljust(_SIZE).encode("ascii"), 0)
        os.fsync(self._fd)

    def _lock(self, deadline: float) -> None:
        while True:
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                if exc.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.monotonic() >= deadline:
                    raise FailedPrecondition(
                        f"{self._path} is locked: another daemon runs on this root directory",
                        hint="stop it, or give this one another root",
                    ) from None
                time.sleep(0.05)
