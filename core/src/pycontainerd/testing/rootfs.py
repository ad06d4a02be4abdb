"""A small root file system from what is on this machine: its static busybox, or its shell with the libraries it needs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence

import attrs

from pycontainerd.contracts.errors import NotFound

BUSYBOX = ("/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static")
_APPLETS = (
    "[ awk base64 basename cat chmod chown clear cmp cp cut date dd df dirname du echo env expr false find free grep"
    " head hostname id ifconfig ip kill killall less ln ls md5sum mkdir mkfifo mknod mktemp more mount mv nc nproc od"
    " ping printenv printf ps pwd readlink realpath reset rm rmdir sed seq sh sha256sum sleep sort stat stty sync tail"
    " tar tee test time timeout top touch tr true tty umount uname uniq vi wc wget which whoami xargs yes"
)
# What a shell alone does not have built in. Missing ones are left out.
_COMMANDS = (
    "cat chmod cp date dd env false head hostname id kill ln ls mkdir mkfifo mount mv printenv ps rm rmdir seq sleep"
    " stat stty tail tee touch true tty uname wc whoami"
)

_PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\n"
    "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    "www:x:33:33:www:/var/www:/bin/false\n"
    "user:x:1000:1000:user:/home/user:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
)
_GROUP = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwheel:x:10:user\nwww:x:33:user\nuser:x:1000:\nnogroup:x:65534:\n"  # user is in two
_DIRECTORIES = (
    ("bin", 0o755, 0),
    ("dev", 0o755, 0),
    ("etc", 0o755, 0),
    ("home", 0o755, 0),
    ("home/user", 0o755, 1000),
    ("proc", 0o555, 0),
    ("root", 0o700, 0),
    ("run", 0o755, 0),
    ("sys", 0o555, 0),
    ("tmp", 0o1777, 0),
    ("usr", 0o755, 0),
    ("usr/bin", 0o755, 0),
    ("usr/sbin", 0o755, 0),
    ("var", 0o755, 0),
    ("var/tmp", 0o1777, 0),
)


@attrs.frozen
class Node:
    """One entry of a layer: a file (``data``), a directory, a symbolic link (``link``), a device or a FIFO by ``kind``."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""
    kind: str = "file"  # file, directory, symlink, hardlink, char, block, fifo
    uid: int = 0
    gid: int = 0
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, str], ...] = ()


def directory(path: str, mode: int = 0o755, owner: int = 0) -> Node:
    return Node(path, mode=mode, kind="directory", uid=owner, gid=owner)


def symlink(path: str, target: str) -> Node:
    return Node(path, mode=0o777, link=target, kind="symlink")


def host_rootfs(busybox: str | None = None) -> list[Node]:
    """The nodes of a root file system in which ``/bin/sh`` and the usual small commands run.

    :param busybox: another busybox than the machine's; "" makes it of the shell even where there is a busybox.
    :raises NotFound: there is neither busybox nor ``/bin/sh``.
    """
    binary = _busybox() if busybox is None else busybox
    nodes = [directory(*entry) for entry in _DIRECTORIES]
    nodes += [
        Node("etc/passwd", _PASSWD.encode()),
        Node("etc/group", _GROUP.encode()),
        Node("etc/hostname", b"localhost\n"),
        Node("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n"),
        Node("etc/resolv.conf"),
    ]
    nodes += _of_busybox(binary) if binary else _of_commands()
    return with_parents(nodes)


def with_parents(nodes: Iterable[Node]) -> list[Node]:
    """``nodes`` in the order of their paths, with the directories above them that are not among them."""
    found = {node.path: node for node in nodes}
    for path in list(found):
        parent = os.path.dirname(path)
        while parent and parent not in found:
            found[parent] = directory(parent)
            parent = os.path.dirname(parent)
    return [found[path] for path in sorted(found)]


def _busybox() -> str:
    return next((path for path in BUSYBOX if os.path.exists(path)), "")


def _of_busybox(path: str) -> Iterator[Node]:
    has = set(_output(path, "--list").split())
    yield _copied("bin/busybox", path)
    yield from (symlink(f"bin/{name}", "busybox") for name in _APPLETS.split() if name in has and name != "busybox")
    yield from _libraries([path])


def _of_commands() -> Iterator[Node]:
    if not os.path.exists("/bin/sh"):
        raise NotFound("cannot make a root file system: this machine has neither busybox nor /bin/sh")
    search = "/usr/bin:/bin:/usr/sbin:/sbin"
    paths = {name: found for name in _COMMANDS.split() if (found := shutil.which(name, path=search))}
    paths["sh"] = "/bin/sh"
    paths = {name: path for name, path in paths.items() if _is_elf(path)}
    for name, path in paths.items():
        yield _copied(f"bin/{name}", path)
    yield from _libraries(list(paths.values()))


def _is_elf(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _copied(path: str, source: str) -> Node:
    with open(source, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o755  # no set-uid commands of the host
        return Node(path, file.read(), mode | 0o400)


def _libraries(binaries: Sequence[str]) -> list[Node]:
    """The loader and the shared libraries of ``binaries``, where the loader looks for them; none for static ones."""
    found: dict[str, Node] = {}
    for binary in binaries:
        for line in _output("ldd", binary).splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            path = (rest if arrow else name).split(" (")[0].strip()
            if path.startswith("/") and path not in found:
                found[path] = _copied(path.lstrip("/"), path)
    return list(found.values())


def _output(*command: str) -> str:
    """Standard output; nothing of a command that is not there or fails (ldd fails for static binaries)."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except FileNotFoundError:
        return ""
