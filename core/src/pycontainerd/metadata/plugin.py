"""Registration: io.containerd.metadata.v1.bolt (the id people's configs know; the store is SQLite)."""

from __future__ import annotations

import os

from pycontainerd.kernel import Context, Registration

from .database import SqliteDatabase


def _init(ctx: Context[None]) -> SqliteDatabase:
    path = os.path.join(ctx.root, "metadata.db")
    ctx.exports["path"] = path
    return SqliteDatabase(path, ctx.log.error)


metadata = Registration(
    type="io.containerd.metadata.v1", id="bolt", init=_init, close=SqliteDatabase.close, deadline=60
)
