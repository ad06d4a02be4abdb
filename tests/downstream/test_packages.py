"""Three packages that others could have written, as wheels beside ours: found, run, listed, switched off, removed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from pycontainerd.testing.client import Ctr, plugin_status
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root
SAMPLES = Path(__file__).with_name("packages")
NAMES = ("acme-policy", "acme-reflink", "acme-tools")
PLUGINS = {
    "io.containerd.snapshotter.v1.acme-reflink": ("acme-reflink", "1.4.0"),
    "io.containerd.hook.v1.acme": ("acme-tools", "2.0.1"),
    "io.containerd.image-verifier.v1.acme": ("acme-policy", "0.3.0"),
}


@attrs.frozen
class Setup:
    daemon: Daemon
    ctr: Ctr
    allowed: Path


def daemon_of(venv, **more) -> Daemon:
    return Daemon("ours", [venv.python, "-m", "pycontainerd.server.main"], **more)


@pytest.fixture(scope="module")
def venv(clean_venv):
    for name in NAMES:
        clean_venv.install_package(SAMPLES / name)
    yield clean_venv
    clean_venv.packages("pip", "uninstall", "-q", "--python", clean_venv.python, *NAMES)


@pytest.fixture(scope="module")
def setup(venv, tmp_path_factory) -> Iterator[Setup]:
    allowed = tmp_path_factory.mktemp("policy") / "allowed"
    allowed.write_text("")
    config = (
        '[plugins."io.containerd.hook.v1.acme"]\nowner = "road-runner"\n'
        f'[plugins."io.containerd.image-verifier.v1.acme"]\nlist = "{allowed}"\n'
    )
    with daemon_of(venv, config=config) as daemon:
        yield Setup(daemon, Ctr([f"{venv.path}/bin/ctr"], daemon.address), allowed)


@pytest.fixture(scope="module")
def image(setup, image_archive) -> str:
    setup.ctr("images", "import", "--snapshotter", "acme-reflink", image_archive)
    return IMAGE


@pytest.fixture
def name() -> str:
    return f"c{uuid.uuid4().hex[:8]}"


def test_all_are_up_and_listed(setup):
    assert {uri: plugin_status(setup.daemon.address, uri) for uri in PLUGINS} == dict.fromkeys(PLUGINS, "ok")


def test_the_snapshotter_passes_the_suite_where_it_is_installed(venv):
    suite = SAMPLES / "acme-reflink/tests/suite.py"
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-o", "python_classes=Suite*")
    assert "passed" in venv.run("pytest", *options, "-c", "/dev/null", "--rootdir", str(suite.parent), str(suite))


def test_a_container_runs_on_the_snapshotter_with_what_the_hook_adds(setup, image, name):
    script = "echo $ACME"
    out = setup.ctr("run", "--rm", "--snapshotter", "acme-reflink", image, name, "sh", "-c", script)
    assert out == f"road-runner/{setup.ctr.namespace}\n"


def test_the_hook_refuses_a_container_and_the_client_reads_why(setup, image, name):
    options = ("--rm", "--snapshotter", "acme-reflink", "--annotation", "example.acme/forbidden=1")
    code, _, error = setup.ctr.status("run", *options, image, name, "true")
    assert code != 0
    assert "plugin io.containerd.hook.v1.acme" in error
    assert "such containers do not run at ACME (ask for an exception)" in error


def test_the_command_of_ctr_is_listed_and_talks_to_the_daemon(setup, image, name):
    assert "acme" in setup.ctr("--help")
    assert "What ACME's people want to know" in setup.ctr("acme", "--help")
    setup.ctr("containers", "create", "--snapshotter", "acme-reflink", image, name, "true")
    assert f"{name} {image}" in setup.ctr("acme", "images").splitlines()
    setup.ctr("containers", "rm", name)


def test_the_verifier_lets_through_what_is_on_its_list_and_closes_when_that_is_gone(setup, registry, host_image):
    reference = registry.put(f"acme-{uuid.uuid4().hex[:8]}", "1", host_image)
    pull = ("images", "pull", "--plain-http", "--snapshotter", "acme-reflink", reference)
    code, _, error = setup.ctr.status(*pull)
    assert code != 0
    assert f"plugin io.containerd.image-verifier.v1.acme refuses it: {host_image.target.digest} is not on" in error
    setup.allowed.write_text(f"{host_image.target.digest}\n")
    setup.ctr(*pull)
    setup.allowed.unlink()
    code, _, error = setup.ctr.status(*pull)
    assert code != 0
    assert "its hook verify_image failed" in error


def test_what_is_disabled_is_listed_with_its_package_and_does_nothing(venv, image_archive, name):
    with daemon_of(venv, disabled=list(PLUGINS)) as daemon:
        ctr = Ctr([f"{venv.path}/bin/ctr"], daemon.address)
        for uri in PLUGINS:
            assert "disabled" in plugin_status(daemon.address, uri)
        listed = json.loads(ctr("plugins", "ls", "-o", "json"))
        rows = {one["uri"]: (one["distribution"], one["version"]) for one in listed}
        assert PLUGINS.items() <= rows.items()
        ctr("images", "import", image_archive)
        assert ctr("run", "--rm", IMAGE, name, "sh", "-c", "echo :$ACME") == ":\n"
