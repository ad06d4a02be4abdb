"""Connections to SQLite, as this project wants them."""

from __future__ import annotations

import sqlite3

# What a path may not have in a URI of SQLite. (urllib.parse would do it, at the price of a good part of a start.)
_ESCAPES = str.maketrans({"%": "%25", "?": "%3f", "#": "%23"})


def connect(path: str, *, writable: bool = True, sync: bool = True) -> sqlite3.Connection:
    """A connection with our settings: explicit transactions, WAL, full sync, foreign keys."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=512)
    pragmas = ["foreign_keys=ON"]
    if writable:
        pragmas += ["journal_mode=WAL", f"synchronous={'FULL' if sync else 'OFF'}", "journal_size_limit=67108864"]
    else:
        pragmas += ["query_only=ON", "cache_size=-8192"]  # holds a list of some hundred containers
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: str) -> sqlite3.Connection:
    """A connection that cannot change the file or its log, not even when it is the last to close."""
    return sqlite3.connect(f"file:{path.translate(_ESCAPES)}?mode=ro", uri=True, isolation_level=None)
