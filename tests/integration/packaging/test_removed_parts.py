"""A part that is not installed takes away what docs/packaging.md says, and nothing else."""

from __future__ import annotations

import json
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon

pytestmark = pytest.mark.root
ROOT = Path(__file__).resolve().parents[3]
# Without the site directory of this environment, but with another that has everything except the part.
BOOT = "import site, sys; site.addsitedir(sys.argv.pop(1)); from pycontainerd.server.main import main; sys.exit(main())"


def _table() -> dict[str, tuple[str, list[str]]]:
    """What is not installed and what is blocked without each package, as the page has it."""
    text = (ROOT / "docs/packaging.md").read_text(encoding="utf-8")
    table = text.partition("<!-- removed: checked by a test -->\n")[2].partition("<!-- /removed -->")[0]
    found = {}
    for line in table.splitlines()[2:]:
        package, absent, blocked, _text = (re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|"))
        found[package[0]] = (f"io.containerd.{absent[0]}", [f"io.containerd.{uri}" for uri in blocked])
    return found


TABLE = _table()


class Removed:
    """A daemon in whose environment some packages are not installed."""

    def __init__(self, *packages: str) -> None:
        self.directory = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
        site = f"{self.directory}/site"
        os.mkdir(site)
        gone = {name.replace("-", "_") for name in packages}
        here = sysconfig.get_path("purelib")
        for entry in os.listdir(here):
            name = entry.removeprefix("_editable_impl_").removesuffix(".pth").partition("-")[0]
            if name not in gone:
                os.symlink(f"{here}/{entry}", f"{site}/{entry}")
        self.daemon = Daemon("ours", [sys.executable, "-S", "-c", BOOT, site], directory=self.directory)

    def __enter__(self) -> Daemon:
        return self.daemon.__enter__()

    def __exit__(self, *exc: object) -> None:
        self.daemon.close()
        import shutil

        shutil.rmtree(self.directory, ignore_errors=True)


def rows(daemon: Daemon) -> dict[str, dict[str, str]]:
    return {row["uri"]: row for row in json.loads(Ctr(OURS, daemon.address)("plugins", "ls", "-o", "json"))}


@pytest.fixture(scope="module")
def whole() -> Iterator[dict[str, str]]:
    """The state of every plugin where everything is installed."""
    with Removed() as daemon:
        yield {uri: row["state"] for uri, row in rows(daemon).items()}


@pytest.mark.parametrize("package", TABLE)
def test_a_part_that_is_removed_takes_away_what_the_table_says(package: str, whole: dict[str, str]) -> None:
    absent, blocked = TABLE[package]
    with Removed(package) as daemon:
        found = rows(daemon)
    assert found[absent]["sentence"] == (
        f"{absent} is not-installed: its package {package} is not installed (pip install {package})"
    )
    changed = {uri: row["state"] for uri, row in found.items() if whole.get(uri) != row["state"]}
    assert changed == {absent: "not-installed", **dict.fromkeys(blocked, "blocked")}
    assert set(found) == set(whole)
    for uri in blocked:
        assert found[uri]["sentence"].endswith(f"(pip install {package})")


def test_core_alone_serves_images_and_says_what_is_missing(image_archive: str) -> None:
    with Removed(*TABLE) as daemon:
        ctr = Ctr(OURS, daemon.address)
        assert "unpacked" in ctr("images", "import", image_archive)
        code, _, error = ctr.status("run", "--rm", "local.test/hello:1", "c", "/bin/true")
        assert code != 0
        assert "pip install pycontainerd-snapshotter-overlay" in error
        code, _, error = ctr.status("gc", "run")
        assert (code, "pip install pycontainerd-gc" in error) == (7, True)
