"""``containerd --plugin-dir``: single files as plugins, with the file in the place of a package."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.kernel import DuplicatePluginError, RegistrationError
from pycontainerd.server.plugindir import find
from pycontainerd.testing import needs
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon

GOOD = """
    from pathlib import Path
    from pycontainerd.kernel import Registration
    with Path(__file__ + ".imported").open("a") as file:
        file.write("once ")
    def init(ctx):
        ctx.exports["answer"] = "42"
        return 42
    plugin = Registration(type="io.example.thing.v1", id="{id}", init=init)
"""


def write(directory: Path, name: str, text: str) -> str:
    (directory / name).write_text(textwrap.dedent(text))
    return str(directory / name)


@pytest.fixture
def clean() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith("pycontainerd_plugin_dir_")]:
        del sys.modules[name]


def test_a_file_is_a_plugin_and_one_that_is_disabled_is_not_run(tmp_path):
    needs.root()
    needs.command("runc")
    path = write(tmp_path, "one.py", GOOD.format(id="one"))
    write(tmp_path, "two.py", GOOD.format(id="two"))
    broken = write(tmp_path, "three.py", "raise RuntimeError('no luck')\n" + textwrap.dedent(GOOD.format(id="three")))
    write(tmp_path, "_helper.py", "raise RuntimeError('not a plugin')")
    daemon = Daemon.ours(disabled=["io.example.thing.v1.two"])
    daemon.command += ["--plugin-dir", str(tmp_path)]
    with daemon:
        ctr = Ctr(OURS, daemon.address)
        found = json.loads(ctr("plugins", "ls", "-o", "json", "type==io.example.thing.v1"))
        states = {one["uri"].rpartition(".")[2]: one for one in found}
        assert states["one"]["exports"]["answer"] == "42"
        assert path in ctr("plugins", "why", "io.example.thing.v1.three") + json.dumps(found) + daemon.log()
        assert "no luck" in ctr("plugins", "why", "io.example.thing.v1.three")
        assert "disabled" in ctr("plugins", "why", "io.example.thing.v1.two")
        with open(f"{daemon.directory}/config.toml", "a") as file:
            file.write('[plugins."io.example.thing.v1.one"]\n')
        assert "not a plugin known" not in ctr("reload")
    assert Path(f"{path}.imported").read_text() == "once "
    assert not (tmp_path / "two.py.imported").exists()
    assert not Path(f"{broken}.imported").exists()


def test_a_directory_that_is_not_there_ends_the_start_with_its_name(tmp_path):
    daemon = Daemon.ours()
    daemon.command += ["--plugin-dir", f"{tmp_path}/none"]
    try:
        with pytest.raises(FailedPrecondition, match=f"--plugin-dir {tmp_path}/none: No such file"):
            daemon.start()
    finally:
        daemon.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "must have one variable = Registration"),
        (GOOD.format(id="a") + GOOD.format(id="b"), "it has 2"),
        ("kind = 'a.v1'\np = Registration(type=kind, id='x', init=print)", "must be literal strings"),
        ("def broken(:", "invalid syntax"),
        ("import sys\nsys.exit(3)\np = Registration(type='io.a.v1', id='x', init=print)", r"sys.exit\(3\)"),
        ("from pycontainerd.kernel import Registration\np = Registration(type='io.a.v1', id='x', init=print)\np = 5",
         "is not the Registration of io.a.v1.x"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_failed_row(tmp_path, clean, text, said):
    path = write(tmp_path, "bad.py", text)
    (found,) = [one for one in find(str(tmp_path)).values() if one.distribution == path]
    assert found.registration is None
    with pytest.raises(type(found.error), match=said):
        raise found.error


def test_one_uri_from_two_files_is_an_error_that_names_both(tmp_path, clean):
    paths = [write(tmp_path, name, GOOD.format(id="same")) for name in ("a.py", "b.py")]
    with pytest.raises(DuplicatePluginError) as failed:
        find(str(tmp_path))
    assert all(path in str(failed.value) for path in paths)


def test_a_directory_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RegistrationError, match="No such file"):
        find(f"{tmp_path}/none")
