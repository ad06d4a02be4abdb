"""PAX extended headers (POSIX.1-2001): records of ``LENGTH KEY=VALUE\\n``, and what they change. Pure."""

from __future__ import annotations

from pycontainerd.contracts.errors import DataLoss, InvalidArgument

from .limits import Limits
from .tar_header import GNU_SPARSE, REGULAR, Entry, bounded_time

_XATTR = b"SCHILY.xattr."
_SPARSE = b"GNU.sparse."
_MAX_DIGITS = 20
Records = list[tuple[bytes, bytes]]


def parse(data: bytes, offset: int) -> Records:
    """The records in the order they stand in (GNU's sparse format 0.0 repeats keys).

    :raises DataLoss: a record is malformed.
    """
    records = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + _MAX_DIGITS)
        digits = data[at:space] if space > at else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, separator, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space or end > len(data) or data[end - 1 : end] != b"\n" or not separator or not key or b"\0" in key:
            raise DataLoss(f"extended tar header at byte {offset}: malformed record at {at}")
        records.append((key, value))
        at = end
    return records


def apply(entry: Entry, records: Records, limits: Limits) -> None:
    """Let ``records`` change ``entry``; keys not known here change nothing.

    :raises InvalidArgument: a value is not what its key needs, or exceeds a limit.
    """
    sparse: Records = []
    for key, value in records:
        if key.startswith(_XATTR):
            _add_xattr(entry, key[len(_XATTR) :], value, limits)
        elif key.startswith(_SPARSE):
            sparse.append((key[len(_SPARSE) :], value))
        elif value:  # an empty value undoes a global record, and those are ignored anyway
            _set(entry, key, value)
    if sparse and entry.kind in (REGULAR, GNU_SPARSE):
        _set_sparse(entry, sparse, limits)


def _set(entry: Entry, key: bytes, value: bytes) -> None:
    if key == b"path":
        entry.name = _name(entry, value)
    elif key == b"linkpath":
        entry.link = _name(entry, value)
    elif key == b"size":
        entry.size = whole(entry, value, "size") if entry.kind in (REGULAR, GNU_SPARSE) else 0
    elif key == b"uid":
        entry.uid = whole(entry, value, "uid")
    elif key == b"gid":
        entry.gid = whole(entry, value, "gid")
    elif key == b"mtime":
        entry.mtime = _time(entry, value)
    elif key == b"atime":
        entry.atime = _time(entry, value)


def _name(entry: Entry, value: bytes) -> bytes:
    if b"\0" in value:
        raise InvalidArgument(f"{entry}: NUL in a name")
    return value


def whole(entry: Entry, value: bytes, what: str) -> int:
    if not value.isdigit() or len(value) > _MAX_DIGITS:
        raise InvalidArgument(f"{entry}: {what} is not a number: {value[:40]!r}")
    return int(value)


def _time(entry: Entry, value: bytes) -> int:
    """Seconds with any number of decimals, as nanoseconds."""
    seconds, _, fraction = value.partition(b".")
    negative = seconds.startswith(b"-")
    digits = seconds.removeprefix(b"-")
    if not digits.isdigit() or (fraction and not fraction.isdigit()) or len(digits) > _MAX_DIGITS:
        raise InvalidArgument(f"{entry}: time is not a number: {value[:40]!r}")
    if negative:
        return 0
    return bounded_time(int(digits) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0")))


def _add_xattr(entry: Entry, key: bytes, value: bytes, limits: Limits) -> None:
    if entry.xattrs is None:
        entry.xattrs = {}
    if len(value) > limits.max_xattr:
        raise limits.exceeded("max_xattr", len(value), f"{entry}: extended attribute {key[:80]!r}")
    entry.xattrs[key.decode("utf-8", "surrogateescape")] = value
    if len(entry.xattrs) > limits.max_xattrs:
        raise limits.exceeded("max_xattrs", len(entry.xattrs), f"{entry}: extended attributes")


def _set_sparse(entry: Entry, records: Records, limits: Limits) -> None:
    """GNU's three PAX formats of sparse files. Of 1.0 the map stands before the data: ``sparse`` is then []."""
    values = dict(records)
    if b"name" in values:
        entry.name = _name(entry, values[b"name"])
    size = values.get(b"realsize", values.get(b"size"))
    if size is None:
        return
    entry.real_size = whole(entry, size, "real size")
    if values.get(b"major") == b"1" and values.get(b"minor") == b"0":
        entry.sparse = []
        return
    if b"map" in values:
        numbers = values[b"map"].split(b",") if values[b"map"] else []
    else:
        numbers = [value for key, value in records if key in (b"offset", b"numbytes")]
    entry.sparse = pairs(entry, numbers, limits)


def pairs(entry: Entry, numbers: list[bytes], limits: Limits) -> list[tuple[int, int]]:
    """Alternating offsets and lengths as regions."""
    if len(numbers) % 2:
        raise InvalidArgument(f"{entry}: odd number of values in the sparse map")
    if len(numbers) // 2 > limits.max_sparse_regions:
        raise limits.exceeded("max_sparse_regions", len(numbers) // 2, str(entry))
    values = [whole(entry, value, "sparse map") for value in numbers]
    return list(zip(values[::2], values[1::2], strict=True))
