"""Plugins are found by the entry points of what is really installed."""

from __future__ import annotations

import pytest

from pycontainerd.kernel import DuplicatePluginError, State

TYPE = "io.example.thing.v1"


def put(packages, tmp_path, name, *, id, entry_name=None, site="site", module=None, version="1.2.3"):
    trace = tmp_path / f"{name}.imported"
    text = module or packages.PLUGIN.format(trace=str(trace), type=TYPE, id=id)
    uri = entry_name or f"{TYPE}.{id}"
    value = f"{name.replace('-', '_')}:registration"
    packages.install(tmp_path / site, name, text, {uri: value}, version=version)
    return trace


def test_an_installed_plugin_runs_and_is_listed_with_its_package(tmp_path, packages, installed):
    trace = put(packages, tmp_path, "sample-one", id="one")
    row = installed().report.rows[f"{TYPE}.one"]
    assert trace.exists()
    assert (row.state, row.distribution, row.version) == (State.OK, "sample-one", "1.2.3")
    assert row.sentence == f"{TYPE}.one is ok"


def test_a_disabled_plugin_is_never_imported_yet_listed_with_its_package(tmp_path, packages, installed, told):
    trace = put(packages, tmp_path, "sample-two", id="with.dots")
    uri = f"{TYPE}.with.dots"
    row = installed(told(disabled={uri: "/etc/c.toml:3"})).report.rows[uri]
    assert not trace.exists()
    assert (row.state, row.type, row.id, row.distribution) == (State.DISABLED, TYPE, "with.dots", "sample-two")
    assert row.cause == "disabled at /etc/c.toml:3"


def test_an_old_config_disables_a_plugin_by_its_id_alone(tmp_path, packages, installed, told):
    trace = put(packages, tmp_path, "sample-cri", id="cri")
    other = put(packages, tmp_path, "sample-cry", id="cry", site="site2")
    rows = installed(told(disabled={"cri": "/etc/containerd/config.toml:15"})).report.rows
    assert (trace.exists(), other.exists()) == (False, True)
    assert rows[f"{TYPE}.cri"].cause == "disabled at /etc/containerd/config.toml:15"


def test_a_plugin_installed_later_is_found_by_the_next_kernel(tmp_path, packages, installed):
    put(packages, tmp_path, "sample-three", id="three")
    assert f"{TYPE}.four" not in installed().report.rows
    put(packages, tmp_path, "sample-four", id="four", site="site2")
    assert installed().report.rows[f"{TYPE}.four"].state is State.OK


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        ("raise RuntimeError('no luck')", "import failed: no luck"),
        ("import sys; sys.exit(3)", "import failed: the module called sys.exit(3) while it was imported"),
        ("import not_there_at_all", "import failed: No module named 'not_there_at_all'"),
        ("other = 1", "import failed: module 'sample_bad' has no attribute 'registration'"),
        ("registration = 5", "import failed: its entry point leads to 5, not a Registration"),
        ("def broken(:", "import failed: "),
    ],
)
def test_a_module_that_cannot_be_imported_fails_alone(tmp_path, packages, installed, module, cause):
    put(packages, tmp_path, "sample-bad", id="bad", module=module)
    put(packages, tmp_path, "sample-good", id="good", site="site2")
    rows = installed().report.rows
    assert rows[f"{TYPE}.bad"].state is State.FAILED
    assert rows[f"{TYPE}.bad"].cause.startswith(cause)
    assert rows[f"{TYPE}.good"].state is State.OK


def test_an_entry_point_whose_name_is_not_the_uri_it_registers_is_an_error(tmp_path, packages, installed):
    put(packages, tmp_path, "sample-typo", id="right", entry_name=f"{TYPE}.wrong")
    row = installed().report.rows[f"{TYPE}.wrong"]
    assert row.cause == f"import failed: its entry point is named {TYPE}.wrong but registers {TYPE}.right"


def test_one_uri_from_two_distributions_is_an_error_that_names_both(tmp_path, packages, installed):
    put(packages, tmp_path, "sample-left", id="same")
    put(packages, tmp_path, "sample-right", id="same", site="site2")
    with pytest.raises(DuplicatePluginError, match=rf"{TYPE}\.same .*more than once") as caught:
        installed()
    assert "sample-left 1.2.3" in str(caught.value)
    assert "sample-right 1.2.3" in str(caught.value)


def test_a_misspelt_uri_is_answered_with_the_nearest_name(tmp_path, packages, installed):
    put(packages, tmp_path, "sample-name", id="snapshot")
    report = installed().report
    assert report.why(f"{TYPE}.snapshto") == (
        f"{TYPE}.snapshto is not a plugin known here; did you mean {TYPE}.snapshot?"
    )
    assert report.why("nothing like it") == "nothing like it is not a plugin known here"


def test_a_first_party_package_that_is_not_installed_has_a_row_that_says_what_to_install(installed):
    row = installed().report.rows["io.containerd.snapshotter.v1.overlayfs"]
    assert row.state is State.NOT_INSTALLED
    assert "pip install pycontainerd-snapshotter-overlay" in row.sentence
