"""Reading a tar archive from untrusted chunks, once, front to back, with everything bounded."""

from __future__ import annotations

import contextlib
import io
import posixpath
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, Protocol, Self

import attrs

from pycontainerd.contracts.errors import ContainerdError, DataLoss, InvalidArgument

MAX_MEMBERS = 100_000
MAX_NAME = 4096  # characters
MAX_EXTENSION = 1 << 20  # bytes of a pax or GNU header
_ZSTD_WINDOW = 1 << 27
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@attrs.frozen
class Member:
    """A regular file (``file`` is read before the next member is asked for) or a link to ``link``."""

    name: str
    size: int
    file: Readable | None
    link: str = ""


class _Source(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class _Info(tarfile.TarInfo):
    """Headers that are refused where the library would take the archive for ended, or fill the memory."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except (tarfile.TruncatedHeaderError, tarfile.SubsequentHeaderError) as exc:  # type: ignore[attr-defined]
            raise DataLoss(f"the archive is truncated or damaged near offset {tar.offset}: {exc}") from None
        except tarfile.InvalidHeaderError as exc:  # type: ignore[attr-defined]
            raise InvalidArgument(f"this is no tar archive, or damaged near offset {tar.offset}: {exc}") from None

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.size < 0 or (self.type in _EXTENSIONS and self.size > MAX_EXTENSION):
            raise InvalidArgument(f"the archive has a header of {self.size} bytes near offset {tar.offset}")
        return super()._proc_member(tar)  # type: ignore[misc]


def members(chunks: Iterable[bytes]) -> Iterator[Member]:
    """The files and links of an archive, plain or compressed with gzip or zstd.

    :raises DataLoss: it is truncated or its compression is corrupt.
    :raises InvalidArgument: it is no archive, or has what image archives do not have.
    """
    with _explained():
        tar = tarfile.open(  # noqa: SIM115 - opening it reads, so errors are explained apart
            fileobj=_plain(chunks), mode="r|", tarinfo=_Info
        )
    with tar:
        for _ in range(MAX_MEMBERS):
            with _explained():
                info = tar.next()
            if info is None:
                return
            tar.members.clear()  # type: ignore[attr-defined]  # the library would keep them all
            member = _member(tar, info)
            if member is not None:
                yield member
        raise InvalidArgument(f"the archive has more than {MAX_MEMBERS} entries")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What reading the archive raises, as errors of ours."""
    try:
        yield
    except ContainerdError:
        raise
    except (tarfile.TarError, EOFError) as exc:
        raise DataLoss(f"the archive is truncated or damaged: {exc}") from None
    except Exception as exc:
        if isinstance(exc, (zlib.error, OSError)) or type(exc).__name__ in ("ZstdError", "IsalError"):
            raise DataLoss(f"the archive's compression is corrupt: {exc}") from None
        raise


class _File:
    """A member's bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        with _explained():
            return self._file.read(size)


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member | None:
    if len(info.name) > MAX_NAME or len(info.linkname) > MAX_NAME:
        raise InvalidArgument(f"the archive has an entry whose name is longer than {MAX_NAME} characters")
    if info.issparse() or info.size < 0:
        raise InvalidArgument(f"the archive's entry {info.name!r} is a sparse file, which image archives do not have")
    name = clean(info.name)
    if info.issym():
        return Member(name, 0, None, clean(posixpath.join(posixpath.dirname(name), info.linkname)))
    if info.islnk():
        return Member(name, 0, None, clean(info.linkname))
    file = tar.extractfile(info) if info.isreg() else None
    return None if file is None else Member(name, info.size, _File(file))


def clean(name: str) -> str:
    """A member's name in its one spelling. It is only ever a key, never a path."""
    return posixpath.normpath(name).lstrip("/")


def _plain(chunks: Iterable[bytes]) -> IO[bytes]:
    source = io.BufferedReader(_Source(chunks), 1 << 20)
    magic = source.peek(4)[:4]
    if not magic:
        raise InvalidArgument("the archive is empty")
    if magic[:2] == b"\x1f\x8b":
        from isal import igzip

        opened: IO[bytes] = igzip.IGzipFile(fileobj=source, mode="rb")  # type: ignore[no-untyped-call, assignment]
        return opened
    if magic == b"\x28\xb5\x2f\xfd":
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(source, read_across_frames=True)
    return source
