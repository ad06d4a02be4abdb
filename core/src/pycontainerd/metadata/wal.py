"""Whether SQLite has taken up everything that was in a write-ahead log.

After a crash SQLite replays the log up to the first frame whose checksum is wrong and drops the rest without a word.
Usually that rest is the tail of a commit that was never acknowledged. But a damaged frame, or a log that was deleted,
takes acknowledged commits with it. The format is described at https://sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from itertools import islice

import attrs

_HEADER, _FRAME = 32, 24
_MAGIC = (0x377F0682, 0x377F0683)
MOST = 100_000  # frames that are looked at


@attrs.frozen
class Log:
    """A log as it was before SQLite opened it: ``commits`` are the numbers (from 1) of frames that end a commit.

    ``broken``: its header is damaged, so that none of it counts.
    """

    present: bool
    commits: tuple[int, ...] = ()
    broken: bool = False


def inspect(path: str) -> Log:
    """The log of the database ``path``."""
    try:
        fd = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Log(present=False)
    try:
        header = os.pread(fd, _HEADER, 0)
        if len(header) < _HEADER:
            return Log(present=True)  # nothing was ever written to it
        page, salts, sound = _header(header)
        frames = (os.fstat(fd).st_size - _HEADER) // (_FRAME + page) if page else 0
        heads = (os.pread(fd, 16, _HEADER + number * (_FRAME + page)) for number in range(frames))
        commits = []
        for number, head in enumerate(islice(heads, MOST), 1):
            _, size, *salt = struct.unpack(">4I", head)
            if size and tuple(salt) == salts:
                commits.append(number)
        return Log(present=True, commits=tuple(commits), broken=not sound)
    finally:
        os.close(fd)


def lost(log: Log, connection: sqlite3.Connection) -> str:
    """What of ``log`` the freshly opened ``connection`` has not taken up, as a sentence; empty when it has all."""
    if log.broken:
        return "the header of its write-ahead log is damaged: commits since the last checkpoint are lost"
    if not log.commits:
        return ""
    taken = int(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
    missing = sum(1 for number in log.commits if number > taken)
    return f"its write-ahead log is damaged: the last {missing} commits in it are lost" if missing else ""


def _header(header: bytes) -> tuple[int, tuple[int, int], bool]:
    """Page size, salts, and whether the header's checksum is right."""
    magic, _, page, _, salt1, salt2, sum1, sum2 = struct.unpack(">8I", header)
    if magic not in _MAGIC or not (512 <= page <= 65536 and page & (page - 1) == 0):
        return 0, (0, 0), False
    words = struct.unpack(f"{'>' if magic & 1 else '<'}6I", header[:24])
    one = two = 0
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return page, (salt1, salt2), (one, two) == (sum1, sum2)
