"""Real installed distributions for the kernel to find: a module and its dist-info in a directory on sys.path."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

GROUP = "pycontainerd.test-plugins"

PLUGIN = """
from pathlib import Path
from pycontainerd.kernel import Registration, Skip
Path({trace!r}).touch()
def init(ctx):
    return {id!r}
registration = Registration(type={type!r}, id={id!r}, init=init)
"""


def install(
    directory: Path, name: str, module: str, entry_points: Mapping[str, str], version: str = "1.2.3", group: str = GROUP
) -> None:
    """Put a distribution ``name`` with one module of the same name (dashes as underscores) into ``directory``."""
    stem = name.replace("-", "_")
    directory.mkdir(exist_ok=True, parents=True)
    (directory / f"{stem}.py").write_text(textwrap.dedent(module))
    info = directory / f"{stem}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{uri} = {value}" for uri, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
    (info / "RECORD").write_text("")
