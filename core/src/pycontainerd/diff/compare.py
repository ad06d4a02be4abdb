"""The difference of two directories as a layer: what is new or changed, and a whiteout for what is gone."""

from __future__ import annotations

import filecmp
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, cast

import attrs

from .attributes import OVERLAY_MARKS
from .holes import Holes
from .whiteouts import WHITEOUT

_XATTR = "SCHILY.xattr."
_HIDES = WHITEOUT.decode()
_CHUNK = 1 << 20
_MAX_TIME = (1 << 63) - 1  # nanoseconds


@attrs.frozen
class Change:
    """``path`` is relative; ``status`` is None where it was deleted."""

    path: str
    status: os.stat_result | None


def changes(lower: str, upper: str) -> Iterator[Change]:
    """What turns ``lower`` into ``upper``, in the order of paths; directories before what is in them.

    A directory that is itself unchanged is listed when something below it changed, as layers want it.
    """
    yield from _directory(lower, upper, "")


def _directory(lower: str, upper: str, path: str) -> Iterator[Change]:
    below = _entries(os.path.join(lower, path))
    above = _entries(os.path.join(upper, path))
    for name in sorted({*below, *above}):
        where = f"{path}/{name}" if path else name
        old, new = below.get(name), above.get(name)
        if new is None:
            yield Change(where, None)
        elif not stat.S_ISDIR(new.st_mode):
            if old is None or not _same(os.path.join(lower, where), old, os.path.join(upper, where), new):
                yield Change(where, new)
        else:
            yield from _subdirectory(lower, upper, where, old, new)


def _subdirectory(
    lower: str, upper: str, where: str, old: os.stat_result | None, new: os.stat_result
) -> Iterator[Change]:
    if old is None or not stat.S_ISDIR(old.st_mode):
        yield Change(where, new)
        yield from _directory(os.devnull, upper, where)
        return
    said = not _same(os.path.join(lower, where), old, os.path.join(upper, where), new)
    if said:
        yield Change(where, new)
    for change in _directory(lower, upper, where):
        if not said:
            yield Change(where, new)
            said = True
        yield change


def _entries(path: str) -> dict[str, os.stat_result]:
    try:
        with os.scandir(path) as found:
            return {entry.name: entry.stat(follow_symlinks=False) for entry in found}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _same(old_path: str, old: os.stat_result, new_path: str, new: os.stat_result) -> bool:
    if (old.st_mode, old.st_uid, old.st_gid, old.st_rdev) != (new.st_mode, new.st_uid, new.st_gid, new.st_rdev):
        return False
    if _xattrs(old_path) != _xattrs(new_path):
        return False
    if stat.S_ISDIR(new.st_mode):
        return True
    if stat.S_ISLNK(new.st_mode):
        return os.readlink(old_path) == os.readlink(new_path)
    if (old.st_size, old.st_mtime_ns) != (new.st_size, new.st_mtime_ns):
        return False
    # Archives that keep whole seconds only make times that say little.
    coarse = new.st_mtime_ns % 1_000_000_000 == 0 and (old.st_dev, old.st_ino) != (new.st_dev, new.st_ino)
    return not (coarse and stat.S_ISREG(new.st_mode)) or filecmp.cmp(old_path, new_path, shallow=False)


def _xattrs(path: str) -> dict[str, bytes]:
    """Extended attributes that belong to a layer: not those in which overlayfs keeps its own marks."""
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
        if not name.startswith(OVERLAY_MARKS)
    }


def write_layer(lower: str, upper: str, out: IO[bytes], epoch: datetime | None = None) -> None:
    """Write the layer that turns ``lower`` into ``upper`` to ``out`` as an uncompressed PAX tar.

    With ``epoch`` no time in it is later than that.
    """
    latest = _MAX_TIME if epoch is None else int(epoch.timestamp()) * 1_000_000_000
    links: dict[tuple[int, int], str] = {}
    with _archive(out) as archive:
        for change in changes(lower, upper):
            if change.status is None:
                directory, _, name = change.path.rpartition("/")
                gone = tarfile.TarInfo(f"{directory}/{_HIDES}{name}" if directory else _HIDES + name)
                gone.mode = 0
                gone.mtime = 0 if epoch is None else latest // 1_000_000_000
                archive.addfile(gone, io.BytesIO())
            elif not stat.S_ISSOCK(change.status.st_mode):
                _add(archive, os.path.join(upper, change.path), change, links, latest)


def write_tree(root: str, out: IO[bytes]) -> None:
    """Write everything in ``root``, and ``root`` itself, so that nothing of it is lost: holes and access times too.

    Only sockets are left out: no archive has them.
    """
    links: dict[tuple[int, int], str] = {}
    with _archive(out) as archive:
        top = Change(".", os.stat(root))
        for change in (top, *_directory(os.devnull, root, "")):
            assert change.status is not None
            if not stat.S_ISSOCK(change.status.st_mode):
                _add(archive, os.path.join(root, change.path), change, links, _MAX_TIME, whole=True)


def _archive(out: IO[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK)


def _add(
    archive: tarfile.TarFile,
    path: str,
    change: Change,
    links: dict[tuple[int, int], str],
    latest: int,
    *,
    whole: bool = False,
) -> None:
    status = change.status
    assert status is not None
    info = _info(path, change.path, status, latest)
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        known = links.setdefault((status.st_dev, status.st_ino), change.path)
        if known != change.path:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, known, 0
    if whole:
        accessed = "{}.{:09d}".format(*divmod(status.st_atime_ns, 1_000_000_000))
        info.pax_headers = {**info.pax_headers, "atime": accessed}
    if info.type != tarfile.REGTYPE:
        archive.addfile(info)
        return
    with open(path, "rb", buffering=0) as handle:
        holes = Holes.of(handle.fileno(), status) if whole else None
        if holes is None:
            archive.addfile(info, handle)
        else:
            archive.addfile(holes.describe(info), cast("IO[bytes]", holes))


def _info(path: str, name: str, status: os.stat_result, latest: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    extra: dict[str, str] = {}
    mode = status.st_mode
    info.mode, info.uid, info.gid = stat.S_IMODE(mode), status.st_uid, status.st_gid
    info.mtime, fraction = divmod(min(status.st_mtime_ns, latest), 1_000_000_000)
    if fraction:
        extra["mtime"] = f"{info.mtime}.{fraction:09d}"
    for key, value in _xattrs(path).items():
        extra[_XATTR + key] = value.decode("utf-8", "surrogateescape")
    info.pax_headers = extra
    if stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISREG(mode):
        info.size = status.st_size
    elif stat.S_ISFIFO(mode):
        info.type = tarfile.FIFOTYPE
    else:
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return info
