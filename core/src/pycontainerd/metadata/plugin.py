"""Registration: io.containerd.metadata.v1.bolt (the id people's configs know; the store is SQLite)."""

from __future__ import annotations

import os

import attrs

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
    for the disk. Of this daemon only: ``copy_interval``: seconds between the copies that are kept of a database that
    changes, 0 for none; ``ballast``: bytes of disk space kept in reserve for removals on a full disk, 0 for none.
    """

    content_sharing_policy: str = attrs.field(default="shared", validator=_policy)
    no_sync: bool = False
    copy_interval: int = attrs.field(default=600, validator=attrs.validators.ge(0))
    ballast: int = attrs.field(default=16 << 20, validator=[attrs.validators.ge(0), attrs.validators.le(1 << 30)])


def _init(ctx: Context[Config]) -> SqliteDatabase:
    path = os.path.join(ctx.root, "metadata.db")
    ctx.exports["path"] = path
    isolated = ctx.config.content_sharing_policy == "isolated"
    return SqliteDatabase(
        path,
        ctx.log.error,
        sync=not ctx.config.no_sync,
        isolated=isolated,
        ballast=ctx.config.ballast,
        copies=ctx.config.copy_interval,
    )


metadata = Registration(
    type="io.containerd.metadata.v1",
    id="bolt",
    config=Config,
    init=_init,
    close=SqliteDatabase.close,
    deadline=600,  # a damaged database of some gigabytes is checked, copied and read through
)
