"""Registration: io.containerd.metadata.v1.bolt (the id people's configs know; the store is SQLite)."""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs

from pycontainerd.contracts.database import Damage
from pycontainerd.kernel import Context, Registration

from .database import SqliteDatabase


def _policy(_instance: object, _attribute: object, value: str) -> None:
    if value not in ("shared", "isolated"):
        raise ValueError(f"content_sharing_policy must be 'shared' or 'isolated', not {value!r}")


@attrs.frozen
class Config:
    """What namespaces share, and when a commit is done; as in the Go containerd.

    ``content_sharing_policy``: ``shared`` lets a namespace have a blob that another one has by naming its digest;
    ``isolated`` only after it has sent the bytes (the content service reads this). ``no_sync``: commits do not wait
    for the disk. ``copy_interval``: seconds between the copies that are kept of a database that changes, 0 for none (only
    here). ``ballast``: bytes of disk space kept in reserve for removals on a full disk, 0 for none (only here).
    """

    content_sharing_policy: str = attrs.field(default="shared", validator=_policy)
    no_sync: bool = False
    copy_interval: int = attrs.field(default=600, validator=attrs.validators.ge(0))
    ballast: int = attrs.field(default=16 << 20, validator=[attrs.validators.ge(0), attrs.validators.le(1 << 30)])


def _init(ctx: Context[Config]) -> SqliteDatabase:
    path = os.path.join(ctx.root, "metadata.db")
    ctx.exports["path"] = path
    isolated = ctx.config.content_sharing_policy == "isolated"
    fresh = not os.path.lexists(path)
    database = SqliteDatabase(
        path,
        ctx.log.error,
        sync=not ctx.config.no_sync,
        isolated=isolated,
        ballast=ctx.config.ballast,
        copies=ctx.config.copy_interval,
    )
    if database.damage is not None:
        _derive(ctx, database, database.damage, ctx.log.error)
    elif fresh and _has_blobs(ctx):
        # Another daemon's root, the Go containerd's for one: the first collection would take all that has no record.
        ctx.log.warning("a new database beside content that is there: it gets records", database=path)
        _derive(ctx, database, Damage(path, "it is new", ""), ctx.log.warning)
    return database


def _content(ctx: Context[Config]) -> str:
    return os.path.join(ctx.daemon.root, "io.containerd.content.v1.content")


def _has_blobs(ctx: Context[Config]) -> bool:
    from .check import truths

    return next(iter(truths.blobs(_content(ctx))), None) is not None


def _derive(ctx: Context[Config], database: SqliteDatabase, damage: Damage, say: Callable[[str], None]) -> None:
    """Before anybody uses it: what can be derived from what is on disk gets its records again."""
    from . import rebuild
    from .check.truths import Place, Site

    def place(name: str) -> Place:
        uri = f"io.containerd.snapshotter.v1.{name}"
        own = ctx.daemon.config.get("plugins", uri, "root_path", kind=str, default="") if ctx.daemon.config else ""
        return Place(name, own or os.path.join(ctx.daemon.root, uri))

    names = database.read(lambda db: db.execute("SELECT DISTINCT snapshotter FROM snapshot_records").fetchall())
    site = Site(os.path.join(ctx.root, "metadata.db"), _content(ctx), [place(name) for (name,) in names])
    before = len(damage.sentences)
    try:
        rebuild.rebuild(database, site, damage, rebuild.namespaces_of_tasks(ctx.daemon.state))
    except Exception as exc:  # whatever it met: the daemon starts, with what there is
        damage.add(f"deriving records from what is on disk failed: {exc}")
        ctx.log.error("deriving records failed", exc=exc)  # noqa: TRY400 - the traceback is in exc
    for sentence in damage.sentences[before:]:
        say(sentence)


metadata = Registration(
    type="io.containerd.metadata.v1",
    id="bolt",
    config=Config,
    init=_init,
    close=SqliteDatabase.close,
    deadline=600,  # a damaged database of some gigabytes is checked, copied and read through
)
