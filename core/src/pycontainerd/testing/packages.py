"""Packages made of text: a directory with a module and its metadata, as an installer leaves them.

With the directory on a daemon's PYTHONPATH it finds the plugins as those of any installed package::

    install(site, "my-plugin", source, {"io.containerd.hook.v1.mine": "my_plugin:registration"})
    Daemon.ours(environment={"PYTHONPATH": str(site)})
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from pycontainerd.kernel.discovery import GROUP


def install(
    directory: Path, name: str, module: str, entry_points: Mapping[str, str], version: str = "1.2.3", group: str = GROUP
) -> None:
    """Put a distribution ``name`` with one module of the same name (dashes as underscores) into ``directory``."""
    stem = name.replace("-", "_")
    directory.mkdir(exist_ok=True, parents=True)
    (directory / f"{stem}.py").write_text(textwrap.dedent(module), encoding="utf-8")
    info = directory / f"{stem}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = [f"{uri} = {value}" for uri, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]), encoding="utf-8")
    (info / "RECORD").write_text("", encoding="utf-8")
