"""/proc/self/mountinfo: what is mounted where (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os


class MountInfo:
    """One line. ``root`` is the directory of the file system that is mounted at ``point``."""

    __slots__ = (
        "device", "fstype", "id", "options", "parent", "point", "propagation", "root", "source", "super_options",
    )  # fmt: skip

    def __init__(
        self,
        id: int,  # noqa: A002
        parent: int,
        device: str,
        root: str,
        point: str,
        options: str,
        propagation: str,
        fstype: str,
        source: str,
        super_options: str,
    ) -> None:
        self.id = id
        self.parent = parent
        self.device = device
        self.root = root
        self.point = point
        self.options = options
        self.propagation = propagation
        self.fstype = fstype
        self.source = source
        self.super_options = super_options


def unescape(text: str) -> str:
    r"""Undo the kernel's octal escapes (``\040`` is a space)."""
    if "\\" not in text:
        return text
    # The escapes stand for bytes; the rest of the text is already decoded, so only ASCII can be escaped.
    first, *others = text.split("\\")
    for part in others:
        digits = part[:3]
        octal = len(digits) == 3 and all(digit in "01234567" for digit in digits)
        first += chr(int(digits, 8)) + part[3:] if octal else f"\\{part}"
    return first


_ESCAPES = str.maketrans({" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134"})


def escape(path: str) -> str:
    """``path`` as the kernel writes it into mountinfo."""
    return path.translate(_ESCAPES)


def parse_line(line: str) -> MountInfo:
    """One line of mountinfo.

    :raises ValueError: it does not have the fields it must have.
    """
    before, separator, after = line.rstrip("\n").partition(" - ")
    left, right = before.split(" "), after.split(" ")
    if not separator or len(left) < 6 or len(right) < 3:
        raise ValueError(f"not a line of mountinfo: {line!r}")
    return MountInfo(
        id=int(left[0]),
        parent=int(left[1]),
        device=left[2],
        root=unescape(left[3]),
        point=unescape(left[4]),
        options=left[5],
        propagation=" ".join(left[6:]),
        fstype=unescape(right[0]),
        source=unescape(right[1]),
        super_options=unescape(right[2]),
    )


def read_mountinfo(pid: int | str = "self") -> list[MountInfo]:
    """Every mount that process ``pid`` sees, in the order they were made."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return [parse_line(line) for line in file]


def mounts_under(path: str, *, itself: bool = True) -> list[MountInfo]:
    """The mounts at and below ``path`` (symbolic links resolved), deepest and latest first: the order to unmount in."""
    base = os.path.realpath(path)
    prefix = base.rstrip("/") + "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    if escape(base) not in text:  # as a rule; on a busy machine there are thousands of lines to parse
        return []
    found = [
        m for m in map(parse_line, text.split("\n")[:-1]) if (itself and m.point == base) or m.point.startswith(prefix)
    ]
    found.reverse()  # sorting is stable: of two mounts on one point the later one comes first
    found.sort(key=lambda m: -m.point.count("/"))
    return found


def is_mount_point(path: str) -> bool:
    """True when something is mounted exactly at ``path``."""
    base = os.path.realpath(path)
    return any(mount.point == base for mount in read_mountinfo())
