"""Opening the database so that a damaged file never keeps the daemon from starting."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable

from pycontainerd.contracts.errors import DataLoss, FailedPrecondition
from pycontainerd.sys.fs import fsync_dir

from .damage import is_damage
from .schema import migrate

CHECK_ALWAYS = 64 << 20  # bytes; a bigger database is checked only when the machine, not just the daemon, went down
PATIENCE = 10.0  # seconds to wait for a daemon that is still stopping


class Claim:
    """The file ``<database>.lock``: locked while a process has the database, and not empty until it let go in order.

    What it holds is the boot id of the machine, so that the next start knows whether the power was off in between.
    """

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        """:raises FailedPrecondition: another process has it, and does not let go within ``patience`` seconds."""
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(time.monotonic() + patience)
            held = os.pread(self._fd, 256, 0).decode("ascii", "replace").strip()
            self.unclean = bool(held)
            self.same_boot = held == _boot_id()
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, _boot_id().encode("ascii"), 0)
            os.fsync(self._fd)
        except BaseException:
            os.close(self._fd)
            raise

    def release(self) -> None:
        """Say that the end was orderly, and let go."""
        os.ftruncate(self._fd, 0)
        os.fsync(self._fd)
        self.abandon()

    def abandon(self) -> None:
        """Let go without saying so: the next start shall look."""
        os.close(self._fd)

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


def open_checked(path: str, say: Callable[[str], None], *, sync: bool = True) -> tuple[sqlite3.Connection, Claim]:
    """The writing connection to ``path``, migrated, and the claim to it.

    After an unclean end the file is checked first. A damaged one is moved aside, whole, and a new one begun.

    :raises FailedPrecondition: another process has it open, or a newer release wrote it.
    """
    claim = Claim(f"{path}.lock")
    try:
        return _open_or_replace(path, claim, say, sync=sync), claim
    except BaseException:
        claim.abandon()
        raise


def _open_or_replace(path: str, claim: Claim, say: Callable[[str], None], *, sync: bool) -> sqlite3.Connection:
    check = claim.unclean and (not claim.same_boot or _size(path) <= CHECK_ALWAYS)
    fresh = not os.path.exists(path)
    try:
        connection = _open(path, check=check, sync=sync)
    except (sqlite3.DatabaseError, DataLoss) as exc:
        if isinstance(exc, sqlite3.DatabaseError) and not is_damage(exc):
            raise  # the disk is full or read-only: the file itself may be well
        aside = _quarantine(path)
        say(f"the metadata database {path} is damaged ({exc}); it is kept as {aside} and a new one is begun")
        connection, fresh = _open(path, check=False, sync=sync), True
    if fresh:
        fsync_dir(os.path.dirname(path) or ".")
    return connection


def _open(path: str, *, check: bool, sync: bool) -> sqlite3.Connection:
    connection = connect(path, sync=sync)
    try:
        if check:
            verdict = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
            if verdict != ["ok"]:
                raise DataLoss("; ".join(verdict)[:500])
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: str, *, writable: bool = True, sync: bool = True) -> sqlite3.Connection:
    """A connection with our settings: explicit transactions, WAL, full sync, foreign keys."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    pragmas = ["foreign_keys=ON"]
    if writable:
        pragmas += ["journal_mode=WAL", f"synchronous={'FULL' if sync else 'OFF'}", "journal_size_limit=67108864"]
    else:
        pragmas += ["query_only=ON"]
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _quarantine(path: str) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    number = 0
    while os.path.exists(aside := f"{path}.damaged-{stamp}" + (f"-{number}" if number else "")):
        number += 1
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.rename(path + suffix, aside + suffix)
    return aside


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return handle.read().strip() or "unknown"
    except OSError:
        return "unknown"  # never equal to a real one; two unknowns are taken for one boot
