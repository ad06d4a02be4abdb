"""What packagers get: a unit, tmpfiles, manual pages, and a page whose tables are those of the packages."""

from __future__ import annotations

import configparser
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from pycontainerd.config.keys import Main
from pycontainerd.ctr.main import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "packaging/systemd/containerd.service"


def rows(name):
    """The cells of a table of docs/packaging.md that a comment marks."""
    text = (ROOT / "docs/packaging.md").read_text(encoding="utf-8")
    table = text.partition(f"<!-- {name}: checked by a test -->\n")[2].partition(f"<!-- /{name} -->")[0]
    return [[cell.strip().strip("`") for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]


def projects():
    found = {}
    for path in [ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]:
        found[str(path.parent.relative_to(ROOT))] = tomli.loads(path.read_text(encoding="utf-8"))["project"]
    return found


def test_the_table_of_parts_is_that_of_the_packages():
    told = {directory: (name, libraries) for name, directory, libraries, _programs in rows("parts")}
    assert set(told) == set(projects())
    for directory, project in projects().items():
        names = [re.split(r"[\s\[<>=!~;]", item)[0] for item in project["dependencies"]]
        assert told[directory] == (
            project["name"],
            ", ".join(sorted(n for n in names if not n.startswith("pycontainerd"))),
        )


def test_every_plugin_package_has_a_row_that_says_what_its_removal_does():
    assert [row[0] for row in rows("removed")] == sorted(p["name"] for d, p in projects().items() if d != "core")


def test_all_packages_have_one_version_and_require_each_other_in_it():
    versions = {project["version"] for project in projects().values()}
    assert len(versions) == 1
    ours = [
        item
        for project in projects().values()
        for item in (*project["dependencies"], *itertools.chain(*project.get("optional-dependencies", {}).values()))
        if item.startswith("pycontainerd")
    ]
    assert ours
    assert {item.partition("==")[2] for item in ours} == versions


def test_the_unit_lets_containers_live_and_reloads_by_sighup():
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    service = dict(unit["Service"])
    assert (service["Type"], service["KillMode"], service["Delegate"]) == ("notify", "process", "yes")
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    verify = shutil.which("systemd-analyze")
    if verify and Path("/usr/bin/containerd").exists():  # it looks whether the program is there
        done = subprocess.run([verify, "verify", str(UNIT)], capture_output=True, text=True, timeout=60, check=False)
        assert str(UNIT) not in done.stderr


def test_tmpfiles_have_the_modes_that_the_daemon_gives():
    text = (ROOT / "packaging/tmpfiles.d/containerd.conf").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert {(line[0], line[3], line[4]) for line in lines} == {("d", "root", "root")}
    modes = {line[1]: line[2] for line in lines}
    assert (modes["/run/containerd"], modes["/var/lib/containerd"]) == ("0711", "0711")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, str(ROOT / "packaging/man.py"), str(directory)], check=True, timeout=60)
    return {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()}


def test_the_manual_pages_have_every_option_command_and_key(pages):
    plain = {name: text.replace("\\-", "-") for name, text in pages.items()}
    for option in ("--profile-startup", "--plugin-dir", "--config", "SIGHUP", "config migrate", "--in-place"):
        assert option in plain["containerd.8"]
    for field in Main.__attrs_attrs__:
        assert f"\\fB{field.name}" in plain["containerd-config.toml.5"]
    for command in COMMANDS:
        assert re.search(rf"^\.SS {command}\b", plain["ctr.1"], re.MULTILINE), command


def test_the_manual_pages_are_roff(pages):
    known = {".TH", ".SH", ".SS", ".TP", ".PP", ".br"}
    for name, text in pages.items():
        lines = text.splitlines()
        assert {line.split()[0] for line in lines if line.startswith(".")} <= known
        assert not [line for line in lines if line.startswith("'")]
        groff = shutil.which("groff")
        if groff:
            done = subprocess.run(
                [groff, "-k", "-man", "-ww", "-z", "-Tutf8"],
                input=text,
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            assert done.stderr == "", name
