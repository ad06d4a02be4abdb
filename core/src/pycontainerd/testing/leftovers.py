"""What a daemon leaves behind when it is not stopped in good order: found by its directory, and removed.

Processes are those that carry the directory in their command line, environment or working directory (shims, zygotes,
clients), or that live in a mount namespace with a mount from it (containers).
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.sys.mount import unmount
from pycontainerd.sys.mountinfo import mounts_under, read_mountinfo

MARK = "PYCONTAINERD_TEST_DIRECTORY"
"""The environment variable that a test's daemon passes to its children: its directory."""
_MNT_DETACH = 2
_CGROUPS = "/sys/fs/cgroup"
_BUNDLES = "state/io.containerd.runtime.v2.task"
_RUNC_ROOT = "/run/containerd/runc"
_PATIENCE = 10.0  # seconds for killed processes to go


def find(directory: str, daemon: int = 0) -> list[str]:
    """A line for each process (but ``daemon`` and its own helpers), mount and cgroup that is there."""
    found = [f"process {pid}: {_command(pid)}" for pid in processes(directory) if not _belongs_to(pid, daemon)]
    found += [f"mount {item.point} ({item.fstype})" for item in mounts_under(directory)]
    found += [f"cgroup {path}" for path in _cgroups(directory) if not _is_parent(path, directory)]
    return found


def remove(directory: str) -> None:
    """End those processes, unmount, and remove what was made outside of the directory. The directory itself stays."""
    end = time.monotonic() + _PATIENCE
    while pids := processes(directory):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(pids)
        if time.monotonic() > end:
            raise TimeoutError(f"processes of {directory} do not die: {[_command(pid) for pid in pids]}")
        time.sleep(0.02)
    for namespace, name in _containers(directory):
        # runc keeps its records outside; without the processes it only has to forget them.
        if os.path.isdir(f"{_RUNC_ROOT}/{namespace}/{name}"):
            command = ["runc", "--root", f"{_RUNC_ROOT}/{namespace}", "delete", "--force", name]
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(command, capture_output=True, timeout=30, check=False)
    for path in glob.glob(f"{directory}/{_BUNDLES}/*"):
        with contextlib.suppress(OSError):  # others' containers are in a namespace of that name, or there is none
            os.rmdir(f"{_RUNC_ROOT}/{os.path.basename(path)}")
    _remove_cgroups(directory)
    _remove_sockets(directory)
    for item in mounts_under(directory):
        with contextlib.suppress(ContainerdError, OSError):
            unmount(item.point, _MNT_DETACH)


def processes(directory: str) -> list[int]:
    """The processes that belong to ``directory``, but for this one and those that started it."""
    own = _ancestors()
    return [pid for pid in _pids() if pid not in own and _mentions(pid, directory)]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _ancestors() -> set[int]:
    found, pid = set(), os.getpid()
    while pid:
        found.add(pid)
        pid = _parent(pid)
    return found


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _mentions(pid: int, directory: str) -> bool:
    name, inside = directory.encode(), f"{directory}/"
    try:
        environment = _bytes(f"/proc/{pid}/environ")
        if _has(_bytes(f"/proc/{pid}/cmdline"), name) or _has(environment, name):
            return True
        if f"{MARK}=".encode() in environment:
            return False  # another's, whose mount namespace may have copies of our mounts
        if f"{os.readlink(f'/proc/{pid}/cwd')}/".startswith(inside):
            return True
        if os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            return False
        return any(inside in item.super_options or item.root.startswith(inside) for item in read_mountinfo(pid))
    except (OSError, ValueError):  # it has just ended
        return False


def _has(text: bytes, name: bytes) -> bool:
    """Whether ``name`` is in there as a whole path or the beginning of one."""
    at = text.find(name)
    while at >= 0:
        following = text[at + len(name) : at + len(name) + 1]
        if not following.isalnum() and following not in (b"_", b"-"):
            return True
        at = text.find(name, at + 1)
    return False


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _command(pid: int) -> str:
    try:
        return _bytes(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")[:200].strip()
    except OSError:
        return "?"


def _belongs_to(pid: int, daemon: int) -> bool:
    """The daemon, a helper that it started and has not let go (its zygote), or what that one rehearses with."""
    if not daemon:
        return False
    parent = _parent(pid)
    return pid == daemon or (daemon in (parent, _parent(parent)) and not _is_shim(pid))


def _is_shim(pid: int) -> bool:
    try:
        return "/io.containerd.runtime.v2.task/" in f"{os.readlink(f'/proc/{pid}/cwd')}/"
    except OSError:
        return False


def _reap(pids: list[int]) -> None:
    """Those that are our own children would stay as zombies."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _containers(directory: str) -> Iterator[tuple[str, str]]:
    for path in glob.glob(f"{directory}/{_BUNDLES}/*/*"):
        yield os.path.basename(os.path.dirname(path)), os.path.basename(path)


def _cgroups(directory: str) -> list[str]:
    """Directories in cgroup hierarchies of the containers in the state directory and, above them, of its namespaces."""
    wanted = {f"/{os.path.basename(path)}" for path in glob.glob(f"{directory}/{_BUNDLES}/*")}
    for path in glob.glob(f"{directory}/{_BUNDLES}/*/*/config.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            group = json.loads(_bytes(path)).get("linux", {}).get("cgroupsPath", "")
            if group.startswith("/") and group != "/":
                wanted.add(os.path.normpath(group))
    bases = [_CGROUPS, *glob.glob(f"{_CGROUPS}/*")]
    return sorted({found for base in bases for group in wanted if os.path.isdir(found := base + group)})


def _is_parent(path: str, directory: str) -> bool:
    """Whether it is only what a namespace's containers were in: no runtime removes that, no daemon misses it."""
    names = {os.path.basename(item) for item in glob.glob(f"{directory}/{_BUNDLES}/*")}
    try:
        below = [entry for entry in os.scandir(path) if entry.is_dir()]
        return os.path.basename(path) in names and not below and not _bytes(f"{path}/cgroup.procs").strip()
    except OSError:  # it is gone
        return True


def _remove_cgroups(directory: str) -> None:
    for top in _cgroups(directory):
        for path, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # another daemon's containers are in it, or it is gone
                os.rmdir(path)


def _remove_sockets(directory: str) -> None:
    """Sockets of Go shims are all in one directory of the machine; a bundle knows its own."""
    for path in glob.glob(f"{directory}/{_BUNDLES}/*/*/address"):
        with contextlib.suppress(OSError):
            address = _bytes(path).decode().strip().removeprefix("unix://")
            if os.path.dirname(address) == "/run/containerd/s":
                os.unlink(address)
