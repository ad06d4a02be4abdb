"""From the names of every version to those of the latest, each key with the line and the name it came from."""

from __future__ import annotations

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.config import toml
from pycontainerd.config.check import check
from pycontainerd.config.document import Document
from pycontainerd.config.lines import key_lines
from pycontainerd.config.loader import merge, read_layers
from pycontainerd.config.migrations import migrate, rename_aliases
from pycontainerd.config.plugins import installed
from pycontainerd.config.rewrite import prove, rewrite
from pycontainerd.config.show import dump_text

PLUGINS_HERE = installed()

GRPC = "io.containerd.server.v1.grpc"
TTRPC = "io.containerd.server.v1.ttrpc"
IMAGES = "io.containerd.cri.v1.images"
RUNTIME = "io.containerd.cri.v1.runtime"
CRI = "io.containerd.grpc.v1.cri"


def document(text: str) -> Document:
    return Document(tomli.loads(text), {path: f"f:{line}" for path, line in key_lines(text).items()})


@pytest.mark.parametrize(
    ("version", "text", "plugins"),
    [
        (1, "[plugins.overlayfs]\nroot_path = '/o'", {"io.containerd.snapshotter.v1.overlayfs": {"root_path": "/o"}}),
        (1, "[plugins.diff-service]\ndefault = ['x']", {"io.containerd.service.v1.diff-service": {"default": ["x"]}}),
        (
            1,
            "[plugins.cgroups]\nno_prometheus = true",
            {"io.containerd.monitor.task.v1.cgroups": {"no_prometheus": True}},
        ),
        (1, "[plugins.cri]\nsandbox_image = 'p'", {IMAGES: {"pinned_images": {"sandbox": "p"}}}),
        (1, "[plugins.tasks]\na = 1", {"io.containerd.grpc.v1.tasks": {"a": 1}}),
        (1, "[plugins.'com.example.x.v1.y']\na = 1", {"com.example.x.v1.y": {"a": 1}}),
        (2, "[plugins.overlayfs]\na = 1", {"overlayfs": {"a": 1}}),
        (
            2,
            "[plugins.'io.containerd.internal.v1.restart']\ninterval = '1s'",
            {"io.containerd.monitor.container.v1.restart": {"interval": "1s"}},
        ),
        (
            2,
            f"[plugins.'{CRI}'.containerd]\nsnapshotter = 's'\ndefault_runtime_name = 'r'",
            {IMAGES: {"snapshotter": "s"}, RUNTIME: {"containerd": {"default_runtime_name": "r"}}},
        ),
        (2, f"[plugins.'{CRI}'.cni]\nbin_dir = '/b'", {RUNTIME: {"cni": {"bin_dirs": ["/b"]}}}),
        (2, f"[plugins.'{CRI}'.registry]\nconfig_path = '/c'", {IMAGES: {"registry": {"config_path": "/c"}}}),
        (2, f"[plugins.'{CRI}']\nstream_server_port = '1'", {CRI: {"stream_server_port": "1"}}),
        (
            2,
            f"[plugins.'{CRI}'.containerd.runtimes.kata]\nsandbox_mode = 'shim'",
            {RUNTIME: {"containerd": {"runtimes": {"kata": {"sandboxer": "shim"}}}}},
        ),
        (3, f"[plugins.'{CRI}']\nenable_selinux = true", {RUNTIME: {"enable_selinux": True}}),
        (
            3,
            "[plugins.'io.containerd.runtime.v2.task']\nsched_core = true",
            {
                "io.containerd.runtime.v2.task": {"sched_core": True},
                "io.containerd.shim.v1.manager": {"env": ["SCHED_CORE=1"]},
            },
        ),
        (
            3,
            "[debug]\naddress = '/d'\nuid = 3\nlevel = 'warn'",
            {"io.containerd.server.v1.debug": {"address": "/d", "uid": 3}},
        ),
        (3, "[metrics]\naddress = '1:2'", {"io.containerd.server.v1.metrics": {"address": "1:2"}}),
        (
            3,
            "[grpc]\ntcp_address = ':1'\ntcp_tls_ca = '/ca'",
            {"io.containerd.server.v1.grpc-tcp": {"address": ":1", "tls_ca": "/ca"}},
        ),
        (
            3,
            "[grpc]\naddress = '/g'\nuid = 7\nmax_recv_message_size = 9",
            {GRPC: {"address": "/g", "uid": 7, "max_recv_message_size": 9}, TTRPC: {"address": "/g.ttrpc", "uid": 7}},
        ),
        (3, "[grpc]\naddress = '/g'\n[ttrpc]\naddress = '/t'", {GRPC: {"address": "/g"}, TTRPC: {"address": "/t"}}),
        (3, "[grpc]\naddress = ''\nuid = 0\n[ttrpc]\naddress = ''\n[metrics]\naddress = ''", None),
        (4, f"[plugins.'{GRPC}']\naddress = '/g'", {GRPC: {"address": "/g"}}),
    ],
)
def test_a_table_gets_the_names_of_the_latest_version(version, text, plugins):
    made = migrate(document(text), version).values
    assert made.get("plugins") == plugins
    assert not {"grpc", "ttrpc", "metrics"} & set(made)


def test_short_ids_in_the_lists_of_version_1_become_uris_with_their_lines():
    old = document('disabled_plugins = ["cri", "io.x.v1.y"]\nrequired_plugins = ["zfs"]')
    old.origins["disabled_plugins", "cri"] = "f:1"
    made = migrate(old, 1)
    assert made.values["disabled_plugins"] == [CRI, "io.x.v1.y"]
    assert made.values["required_plugins"] == ["io.containerd.snapshotter.v1.zfs"]
    assert made.origins["disabled_plugins", CRI] == "f:1"


def test_a_key_that_moved_keeps_its_line_and_its_old_name():
    made = migrate(document(f"version = 2\n\n[plugins.'{CRI}'.containerd.runtimes.x]\n  runtime_type = 't'\n"), 2)
    new = ("plugins", RUNTIME, "containerd", "runtimes", "x", "runtime_type")
    assert made.where(new) == "f:4"
    assert made.name(new) == ("plugins", CRI, "containerd", "runtimes", "x", "runtime_type")


def test_an_old_and_a_new_name_for_one_key_are_reported_with_both_lines():
    made = migrate(document(f"[grpc]\naddress = '/old'\n[plugins.'{GRPC}']\naddress = '/new'\n"), 3)
    assert made.values["plugins"][GRPC]["address"] == "/new"
    (finding,) = made.findings
    assert finding.where == "f:2"
    assert 'grpc.address and plugins."io.containerd.server.v1.grpc".address (at f:4)' in finding.message


def test_old_listeners_in_a_file_of_version_4_are_taken_and_reported():
    made = migrate(document("version = 4\n[grpc]\naddress = '/g'\n"), 4)
    assert made.values["plugins"][GRPC]["address"] == "/g"
    assert [finding.where for finding in made.findings] == ["f:3"]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("DisabledPlugins = ['a.v1.b']", ("disabled_plugins",), ["a.v1.b"]),
        ("Root = '/r'", ("root",), "/r"),
        ("GRPCAddress = '/g'", ("plugins", GRPC, "address"), "/g"),
        ("SandboxImage = 'p'", ("plugins", IMAGES, "pinned_images", "sandbox"), "p"),
        ("CgroupParent = '/c'", ("cgroup", "path"), "/c"),
        ("DefaultRuntime = 'crun'", ("plugins", RUNTIME, "containerd", "default_runtime_name"), "crun"),
        ("DebugAddress = '/d'", ("plugins", "io.containerd.server.v1.debug", "address"), "/d"),
        ("MaxRecvMsgSize = 9", ("plugins", GRPC, "max_recv_message_size"), 9),
        ("[Debug]\nLevel = 'warn'", ("debug", "level"), "warn"),
        ("[GRPC]\nAddress = '/g'", ("plugins", GRPC, "address"), "/g"),
        (
            "[Plugins.overlayfs]\nroot_path = '/o'",
            ("plugins", "io.containerd.snapshotter.v1.overlayfs", "root_path"),
            "/o",
        ),
    ],
)
def test_the_camel_case_names_of_articles_are_taken_with_a_hint(text, path, value):
    renamed = rename_aliases(document(text))
    made = migrate(renamed, 1)
    assert made.get(path) == value
    assert renamed.findings
    assert all(finding.severity == "note" and finding.hint.startswith("write ") for finding in renamed.findings)


SCALARS = st.one_of(
    st.integers(0, 3), st.sampled_from(["", "/a", "x"]), st.booleans(), st.lists(st.just("i"), max_size=2)
)
NAMES = st.sampled_from(
    [
        "address",
        "uid",
        "sandbox_image",
        "registry",
        "snapshotter",
        "containerd",
        "cni",
        "bin_dir",
        "runtimes",
        "sched_core",
        "sandbox_mode",
        "enable_selinux",
        "stream_server_port",
        "pinned_images",
        "bin_dirs",
        "tcp_address",
        "odd key",
    ]
)
TABLES = st.recursive(SCALARS, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)
PLUGINS = st.dictionaries(
    st.sampled_from(
        ["cri", "overlayfs", "x-service", CRI, IMAGES, RUNTIME, GRPC, TTRPC, "io.containerd.internal.v1.restart"]
    )
    | st.just("io.containerd.runtime.v2.task"),
    TABLES,
    max_size=4,
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "plugins": PLUGINS | SCALARS,
        "grpc": st.dictionaries(NAMES, SCALARS, max_size=3) | SCALARS,
        "ttrpc": st.dictionaries(NAMES, SCALARS, max_size=3),
        "debug": st.dictionaries(NAMES, SCALARS, max_size=3),
        "metrics": st.dictionaries(NAMES, SCALARS, max_size=3),
        "disabled_plugins": st.lists(st.sampled_from(["cri", CRI, "zfs"]), max_size=2) | SCALARS,
        "unheard_of": TABLES,
    },
)


@settings(max_examples=150, deadline=None)
@given(FILES, st.integers(1, 4))
def test_migrating_twice_is_migrating_once_and_the_argument_is_left_alone(values, version):
    old = Document(values)
    before = old.copy()
    once = migrate(old, version)
    assert migrate(once, 4).values == once.values
    assert (old.values, old.origins) == (before.values, before.origins)


@settings(max_examples=60, deadline=None)
@given(FILES, FILES, st.integers(1, 4), st.integers(1, 4))
def test_whatever_two_files_hold_their_migration_is_proved_and_no_tool_fails(tmp_path_factory, first, second, one, two):
    directory = tmp_path_factory.mktemp("pair")
    for name, values in (
        ("b.toml", {**second, "version": two}),
        ("a.toml", {**first, "version": one, "imports": ["b.toml"]}),
    ):
        (directory / name).write_text(toml.dumps(values))
    layers = read_layers(str(directory / "a.toml"))
    for place, layer in enumerate(layers):
        prove(layers, place, rewrite(layer))
    check(layers[0].path)
    tomli.loads(dump_text(merge(layers), PLUGINS_HERE, origins=True))
