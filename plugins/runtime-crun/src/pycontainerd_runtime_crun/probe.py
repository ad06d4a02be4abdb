"""What the crun on this machine is, and whether it can work here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

import attrs

TIMEOUT = 5.0  # seconds
_VERSION = re.compile(r"^crun version (\S+)", re.MULTILINE)
_FEATURES = re.compile(r"^(?:[+-]\S+\s*)+$", re.MULTILINE)
CGROUPS = "/sys/fs/cgroup"


@attrs.frozen
class Probe:
    """``features`` are what it was built with (SYSTEMD, SECCOMP, …); ``problem`` says why it will run nothing."""

    path: str = ""
    version: str = ""
    features: Sequence[str] = ()
    problem: str = ""


def probe(binary: str = "crun", cgroups: str = CGROUPS) -> Probe:
    """Look at ``binary`` (a name on PATH, or a path)."""
    path = shutil.which(binary)
    if path is None:
        return Probe(problem=f"{binary} is not installed")
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Probe(path, problem=f"{path} --version failed: {exc}")
    version = _VERSION.search(done.stdout)
    if done.returncode or version is None:
        said = (done.stderr or done.stdout).strip()[:200]
        return Probe(path, problem=f"{path} --version is not crun's (status {done.returncode}): {said!r}")
    return Probe(path, version[1], features(done.stdout), hybrid(cgroups))


def features(text: str) -> Sequence[str]:
    """The names with a plus in the line of ``--version`` that has them."""
    found = _FEATURES.search(text)
    return tuple(word[1:] for word in found[0].split() if word.startswith("+")) if found else ()


def hybrid(cgroups: str = CGROUPS) -> str:
    """Why crun refuses this machine's cgroups; empty: it takes them."""
    try:
        with open(os.path.join(cgroups, "unified", "cgroup.controllers"), encoding="ascii", errors="replace") as file:
            controllers = file.read(4096).split()
    except OSError:
        return ""  # cgroup v1 alone, or cgroup v2 alone
    if not controllers:
        return ""
    return (
        f"cgroups are hybrid here, and {cgroups}/unified (cgroup v2) has the controllers {', '.join(controllers)}:"
        " crun does not run containers on that"
    )
