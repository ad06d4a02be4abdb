"""Finding mounts by their path."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pycontainerd.sys.mountinfo import escape, mounts_under, unescape


@pytest.mark.parametrize("path", ["/plain", "/with space", "/tab\tnew\nline", "/back\\slash", "/üñ", "/\\040"])
def test_an_escaped_path_comes_back(path: str) -> None:
    assert unescape(escape(path)) == path
    assert " " not in escape(path)


@pytest.mark.root
@pytest.mark.parametrize("name", ["plain", "with space", "back\\slash"])
def test_mounts_are_found_whatever_their_path_has_in_it(tmp_path: Path, name: str) -> None:
    if os.geteuid():
        pytest.skip("root mounts")
    point = tmp_path / name / "below"
    point.mkdir(parents=True)
    assert mounts_under(str(tmp_path / name)) == []
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], check=True)
    try:
        assert [mount.point for mount in mounts_under(str(tmp_path / name))] == [str(point)]
        assert mounts_under(str(point), itself=False) == []
        assert mounts_under(str(tmp_path / "other")) == []
    finally:
        subprocess.run(["umount", point], check=True)
