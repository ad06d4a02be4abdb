"""Hooks in a real daemon, a real ctr and a real configuration, from packages that are found as any others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from pycontainerd.testing import images, needs
from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.packages import install
from pycontainerd.testing.plugin import IMAGE

EDITOR = """
import sys
from pycontainerd.contracts.errors import PermissionDenied
from pycontainerd.contracts.hooks import hook
from pycontainerd.kernel import Registration

class Hooks:
    @hook
    def edit_oci_spec(self, namespace, id, spec):
        if id.startswith("refused"):
            raise PermissionDenied("no such names here", hint="take another")
        if id.startswith("broken"):
            raise ZeroDivisionError("oh")
        if id.startswith("exit"):
            sys.exit(3)
        if id.startswith("returns"):
            return dict(spec)
        if id.startswith("junk"):
            spec["x"] = {1, 2}
        spec["process"]["env"].append(f"EDITED={namespace}")

registration = Registration(type="io.containerd.hook.v1", id="editor", init=lambda ctx: Hooks())
"""
TAP = """
import json
from pycontainerd.contracts.hooks import hook
from pycontainerd.kernel import Registration

class Tap:
    def __init__(self, path):
        self._path = path

    @hook
    def event_published(self, envelope):
        with open(self._path, "a") as file:
            file.write(f"{envelope.namespace} {envelope.topic} {type(envelope.event).__name__} "
                       f"{getattr(envelope.event, 'container_id', getattr(envelope.event, 'name', ''))}\\n")

class Broken:
    @hook
    def event_published(self):
        raise RuntimeError("this tap leaks")

good = Registration(type="io.containerd.hook.v1", id="tap", init=lambda ctx: Tap(ctx.root + "/seen"))
bad = Registration(type="io.containerd.hook.v1", id="broken-tap", init=lambda ctx: Broken())
"""
VERIFIERS = """
from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.hooks import Judgement, hook
from pycontainerd.kernel import Registration

class Verifier:
    @hook
    def verify_image(self, image, repository):
        if "/signed" in image.name:
            return self._signed(image, repository)
        if "/refused" in image.name:
            return Judgement(False, f"{image.target.digest[:7]} is not signed")
        if "/raises" in image.name:
            raise OSError("the key is gone")
        if "/junk" in image.name:
            return True
        return Judgement(True, "I know this one")

    def _signed(self, image, repository):
        try:
            signature = repository.resolve(image.target.digest.replace(":", "-") + ".sig")
        except NotFound:
            return Judgement(False, "it has no signature")
        return Judgement(b"by me" in repository.read(signature), "not signed by me")

registration = Registration(type="io.containerd.image-verifier.v1", id="strict", init=lambda ctx: Verifier())
"""
TRACE = """
import os, pathlib
from pycontainerd.kernel import Registration
pathlib.Path(os.environ["HOOK_TRACE"]).touch()
registration = Registration(type="io.containerd.hook.v1", id="off", init=lambda ctx: None)
"""


@attrs.frozen
class Setup:
    daemon: Daemon
    ctr: Ctr
    trace: Path


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    needs.root()
    needs.command("runc")
    site = tmp_path_factory.mktemp("site")
    kind = "io.containerd.hook.v1"
    install(site, "hook-editor", EDITOR, {f"{kind}.editor": "hook_editor:registration"})
    install(site, "hook-tap", TAP, {f"{kind}.tap": "hook_tap:good", f"{kind}.broken-tap": "hook_tap:bad"})
    install(site, "strict", VERIFIERS, {"io.containerd.image-verifier.v1.strict": "strict:registration"})
    install(site, "hook-off", TRACE, {f"{kind}.off": "hook_off:registration"})
    trace = site / "imported"
    environment = {"PYTHONPATH": str(site), "HOOK_TRACE": str(trace)}
    with Daemon.ours(environment=environment, disabled=[f"{kind}.off"]) as daemon:
        yield Setup(daemon, Ctr(OURS, daemon.address), trace)


@pytest.fixture
def name() -> str:
    return f"c{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def image(setup: Setup, image_archive: str) -> str:
    setup.ctr("images", "import", image_archive)
    return IMAGE


@pytest.mark.hook("edit_oci_spec")
def test_a_spec_is_edited_for_the_task_and_the_containers_record_keeps_the_clients(setup, image, name):
    out = setup.ctr("run", "--rm", image, name, "sh", "-c", "echo $EDITED")
    assert out == f"{setup.ctr.namespace}\n"
    setup.ctr("containers", "create", image, name, "true")
    spec = json.dumps(json.loads(setup.ctr("containers", "info", name)))
    assert "EDITED" not in spec
    setup.ctr("containers", "rm", name)


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        (
            "refused",
            "plugin io.containerd.hook.v1.editor: its hook edit_oci_spec failed: no such names here (take another)",
        ),
        ("broken", "plugin io.containerd.hook.v1.editor: its hook edit_oci_spec failed: oh"),
        ("exit", "plugin io.containerd.hook.v1.editor: its hook edit_oci_spec failed: it called sys.exit(3)"),
        ("returns", "plugin io.containerd.hook.v1.editor: its hook edit_oci_spec returned a dict"),
        ("junk", "plugin io.containerd.hook.v1.editor left a spec that is no JSON"),
    ],
)
def test_a_spec_edit_that_fails_refuses_the_container_by_name_and_leaves_nothing(setup, image, name, prefix, said):
    code, _, error = setup.ctr.status("run", "--rm", image, f"{prefix}-{name}", "true")
    assert code != 0
    assert said in error
    assert setup.ctr("tasks", "ls", "-q") == ""
    assert setup.ctr("run", "--rm", image, name, "echo", "still here") == "still here\n"


@pytest.mark.hook("event_published")
def test_taps_hear_every_event_as_a_record_and_a_broken_one_is_only_logged(setup, image, name):
    setup.ctr("run", "--rm", image, name, "true")
    path = Path(f"{setup.daemon.root}/io.containerd.hook.v1.tap/seen")
    wanted = [
        f"{setup.ctr.namespace} /tasks/create TaskCreate {name}",
        f"{setup.ctr.namespace} /tasks/start TaskStart {name}",
        f"{setup.ctr.namespace} /tasks/exit TaskExit {name}",
        f"{setup.ctr.namespace} /tasks/delete TaskDelete {name}",
    ]

    def heard() -> list[str]:
        return [line for line in path.read_text().splitlines() if line.endswith(f" {name}")]

    eventually(lambda: wanted[-1] in heard(), "the last of the task's events")
    assert [line for line in heard() if "/tasks/" in line] == wanted
    assert f"{setup.ctr.namespace} /images/create ImageCreate {IMAGE}" in path.read_text()
    log = setup.daemon.log()
    assert "plugin io.containerd.hook.v1.broken-tap: its hook event_published failed: this tap leaks" in log


@pytest.mark.hook("verify_image")
def test_an_image_is_pulled_only_if_the_verifier_says_so(setup, registry, host_image):
    repository = f"hooks-{uuid.uuid4().hex[:8]}"
    reference = registry.put(f"{repository}/fine", "1", host_image)
    setup.ctr("images", "pull", "--plain-http", reference)
    assert reference in setup.ctr("images", "ls", "-q")
    for kind, said in {
        "refused": "refuses it: sha256: is not signed",
        "raises": "its hook verify_image failed: the key is gone",
        "junk": "its answer is True, not a Judgement",
    }.items():
        bad = registry.put(f"{repository}/{kind}", "1", host_image)
        code, _, error = setup.ctr.status("images", "pull", "--plain-http", bad)
        assert code != 0
        assert "plugin io.containerd.image-verifier.v1.strict" in error
        assert said in error
        assert bad not in setup.ctr("images", "ls", "-q")


def test_a_verifier_reads_what_is_beside_the_image_with_the_credentials_of_the_pull(setup, registry):
    repository = f"hooks-{uuid.uuid4().hex[:8]}/signed"
    image = images.image([images.layer([images.Node("a", repository.encode())])])
    tag = image.target.digest.replace(":", "-") + ".sig"
    pull = ("images", "pull", "--plain-http", registry.put(repository, "1", image))
    for signature, said in {"": "it has no signature", "by you": "not signed by me"}.items():
        if signature:
            registry.put(repository, tag, images.image([], annotations={"signed": signature}))
        code, _, error = setup.ctr.status(*pull)
        assert code != 0
        assert said in error
    registry.put(repository, tag, images.image([], annotations={"signed": "by me"}))
    setup.ctr(*pull)


def test_a_disabled_hook_is_never_imported(setup):
    assert not setup.trace.exists()
    assert "disabled" in setup.ctr("plugins", "why", "io.containerd.hook.v1.off")


def test_a_hook_that_is_switched_on_and_off_counts_from_the_next_container_on(image_archive, tmp_path, name):
    install(tmp_path, "hook-editor", EDITOR, {"io.containerd.hook.v1.editor": "hook_editor:registration"})
    off = 'disabled_plugins = ["io.containerd.hook.v1.editor"]'
    with Daemon.ours(environment={"PYTHONPATH": str(tmp_path)}, disabled=["io.containerd.hook.v1.editor"]) as daemon:
        ctr = Ctr(OURS, daemon.address)
        ctr("images", "import", image_archive)
        run = ("run", "--rm", IMAGE, name, "sh", "-c", "echo :$EDITED")
        config = Path(f"{daemon.directory}/config.toml")
        for old, new, out in ((off, "", f":{ctr.namespace}\n"), ("version = 2", f"version = 2\n{off}", ":\n")):
            assert ctr(*run) != out
            config.write_text(config.read_text().replace(old, new))
            ctr("reload")
            assert ctr(*run) == out


def test_nothing_is_pulled_while_a_verifier_is_not_up(registry, host_image, tmp_path):
    install(
        tmp_path,
        "bad-verifier",
        """
        from pycontainerd.kernel import Registration
        def init(ctx):
            raise RuntimeError("no policy file")
        registration = Registration(type="io.containerd.image-verifier.v1", id="bad", init=init)
        """,
        {"io.containerd.image-verifier.v1.bad": "bad_verifier:registration"},
    )
    reference = registry.put(f"hooks-{uuid.uuid4().hex[:8]}", "1", host_image)
    with Daemon.ours(environment={"PYTHONPATH": str(tmp_path)}) as daemon:
        code, _, error = Ctr(OURS, daemon.address).status("images", "pull", "--plain-http", reference)
    assert code == 5
    assert "io.containerd.image-verifier.v1.bad is failed: no policy file" in error
    assert "disabled_plugins" in error


COMMAND = """
import pathlib, os
import click
from pycontainerd.contracts.hooks import hook
pathlib.Path(os.environ["HOOK_TRACE"]).touch()

@click.command()
@click.argument("who")
def wave(who):
    '''Wave to WHO.'''
    click.echo(f"o/ {who}")

@hook
def ctr_command():
    return wave
"""


def ctr(site: Path, *args: str, config: str = "") -> tuple[int, str, str]:
    (site / "config.toml").write_text(f"version = 3\n{config}")
    extra = {"PYTHONPATH": str(site), "HOOK_TRACE": f"{site}/imported", "CONTAINERD_CONFIG": f"{site}/config.toml"}
    done = subprocess.run([*OURS, *args], env={**os.environ, **extra}, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.hook("ctr_command")
def test_a_command_of_a_plugin_is_listed_without_import_and_runs_when_called(tmp_path):
    install(tmp_path, "ctr-wave", COMMAND, {"io.containerd.ctr.v1.wave": "ctr_wave"})
    code, out, _ = ctr(tmp_path, "--help")
    assert code == 0
    assert "Commands of plugins" in out
    assert "wave" in out
    ctr(tmp_path, "version", "--help")
    assert not (tmp_path / "imported").exists()
    assert ctr(tmp_path, "wave", "you") == (0, "o/ you\n", "")
    assert "Wave to WHO" in ctr(tmp_path, "wave", "--help")[1]


def test_a_disabled_command_is_not_imported(tmp_path):
    install(tmp_path, "ctr-wave", COMMAND, {"io.containerd.ctr.v1.wave": "ctr_wave"})
    off = 'disabled_plugins = ["io.containerd.ctr.v1.wave"]\n'
    code, _, error = ctr(tmp_path, "wave", "you", config=off)
    assert code == 5
    assert f"which is disabled at {tmp_path}/config.toml:2" in error
    assert "wave" not in ctr(tmp_path, "--help", config=off)[1]
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise RuntimeError('no luck')", "cannot be imported: no luck"),
        ("x = 1", "has no hook ctr_command"),
        (
            "from pycontainerd.contracts.hooks import hook\n@hook\ndef ctr_command():\n    return 5\n",
            "returned 5, not a click.Command",
        ),
        (
            "from pycontainerd.contracts.hooks import hook\n@hook\ndef ctr_command():\n    raise OSError('gone')\n",
            "its hook ctr_command failed: gone",
        ),
    ],
)
def test_a_command_that_cannot_be_used_is_named_and_ctr_lives(tmp_path, module, said):
    install(tmp_path, "ctr-wave", module, {"io.containerd.ctr.v1.wave": "ctr_wave"})
    code, _, error = ctr(tmp_path, "wave", "you")
    assert code == 5
    assert "plugin io.containerd.ctr.v1.wave" in error
    assert said in error
    assert "Traceback" not in error
    assert ctr(tmp_path, "--help")[0] == 0


MIGRATION = """
from pycontainerd.contracts.hooks import hook

OLD = ("plugins", "io.example.thing.v1.old")
NEW = ("plugins", "io.example.thing.v1.new")

@hook
def migrate_config(config, version):
    if config.get((*OLD, "broken")):
        config.drop(OLD)
        raise ValueError(f"cannot read version {version} of it")
    config.move(OLD, NEW)
"""


def containerd(site: Path, *args: str, config: str) -> tuple[int, str, str]:
    (site / "config.toml").write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "pycontainerd.server.main", "-c", f"{site}/config.toml", *args],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.hook("migrate_config")
def test_a_plugins_own_keys_are_migrated_and_keep_the_line_that_set_them(tmp_path):
    install(tmp_path, "migration", MIGRATION, {"io.containerd.config-migration.v1.thing": "migration"})
    old = 'version = 2\n[plugins."io.example.thing.v1.old"]\n  size = 7\n'
    code, out, _ = containerd(tmp_path, "config", "dump", config=old)
    assert code == 0
    assert "io.example.thing.v1.new" in out
    assert "io.example.thing.v1.old" not in out
    code, out, error = containerd(tmp_path, "config", "explain", "io.example.thing.v1.new.size", config=old)
    assert f"{tmp_path}/config.toml:3" in out + error
    code, out, error = containerd(tmp_path, "config", "migrate", config=old)
    assert code == 0, error
    assert "io.example.thing.v1.new" in out


def test_a_migration_that_raises_changes_nothing_and_is_named(tmp_path):
    install(tmp_path, "migration", MIGRATION, {"io.containerd.config-migration.v1.thing": "migration"})
    config = 'version = 3\n[plugins."io.example.thing.v1.old"]\n  broken = true\n'
    code, out, error = containerd(tmp_path, "config", "dump", config=config)
    assert code == 0
    assert "broken = true" in out
    assert "io.example.thing.v1.old" in out
    code, out, error = containerd(tmp_path, "config", "check", config=config)
    said = "plugin io.containerd.config-migration.v1.thing: its hook migrate_config failed: cannot read version 3 of it"
    assert said in out + error


def test_a_disabled_migration_is_not_imported(tmp_path):
    trace = tmp_path / "imported"
    module = f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n" + MIGRATION
    install(tmp_path, "migration", module, {"io.containerd.config-migration.v1.thing": "migration"})
    config = (
        'version = 3\ndisabled_plugins = ["io.containerd.config-migration.v1.thing"]\n'
        '[plugins."io.example.thing.v1.old"]\n  size = 7\n'
    )
    code, out, _ = containerd(tmp_path, "config", "dump", config=config)
    assert code == 0
    assert "io.example.thing.v1.old" in out
    assert not trace.exists()
