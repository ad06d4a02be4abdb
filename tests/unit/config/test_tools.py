"""check, explain, default, dump and migrate as functions; the commands are in tests/integration."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest
import tomli

from pycontainerd.config import ConfigError, load
from pycontainerd.config.check import check
from pycontainerd.config.keys import Main, doc
from pycontainerd.config.loader import read_layers
from pycontainerd.config.plugins import GO, installed
from pycontainerd.config.records import DEFAULT_ADDRESS
from pycontainerd.config.rewrite import prove, rewrite
from pycontainerd.config.show import default_text, dump_text, effective, explain
from pycontainerd.kernel.registration import split_uri

NATIVE = "io.containerd.snapshotter.v1.native"


@pytest.fixture(scope="module")
def plugins():
    return installed()


def said(findings):
    """Each finding as line, severity and text."""
    return [
        (finding.where.rpartition(":")[2], finding.severity, f"{finding.message} {finding.hint}")
        for finding in findings
    ]


@pytest.mark.parametrize(
    ("text", "line", "severity", "message"),
    [
        ("roots = '/r'", 2, "warning", "unknown key roots did you mean root?"),
        ("root = 5", 2, "error", "root must be a str, not 5"),
        ("imports = 5", 2, "error", "imports must be a list"),
        ("plugins = 5", 2, "error", "plugins must be a table, not 5"),
        ("[debug]\nlevle = 'info'", 3, "warning", "unknown key debug.levle did you mean level?"),
        ("[debug]\nlevel = 'loud'", 3, "error", "debug.level must be one of "),
        ("[proxy_plugins.x]\ntype = 'snapshots'\naddress = '/x'", 3, "error", "proxy_plugins.x.type must be one of"),
        ("[proxy_plugins.x]\ntype = 'snapshot'", 2, "error", "proxy_plugins.x must have the key address"),
        ("[grpc]\nuid = 'me'", 3, "error", "[grpc] uid must be an int, not 'me'"),
        ("[grpc]\nadress = '/x'", 3, "warning", "unknown key grpc.adress did you mean address?"),
        ("grpc = 5", 2, "error", "grpc must be a table, not 5"),
        (f"[plugins.'{NATIVE}']\nroot_pat = 'x'", 3, "warning", "did you mean root_path?"),
        (f"[plugins.'{NATIVE}']\nroot_path = 1", 3, "error", "root_path must be a str, not 1"),
        (f"[plugins.'{NATIVE}']\nRootPath = '/x'", 3, "note", "write root_path"),
        (f"[plugins]\n'{NATIVE}' = 1", 3, "error", "must be a table, not 1"),
        ("[plugins.'io.containerd.snapshotter.v1.natvie']", 2, "warning", f"did you mean {NATIVE}?"),
        ("[plugins.'io.containerd.snapshotter.v1.zfs']", 2, "note", "pip install pycontainerd-snapshotter-zfs"),
        ("[plugins.'io.containerd.snapshotter.v1.aufs']", 2, "note", "a plugin of the Go containerd"),
        ("[plugins.'io.containerd.event.v1.exchange']\nx = 1", 3, "warning", "takes no keys"),
        ("disabled_plugins = ['io.containerd.snapshotter.v1.natvie']", 2, "error", f"did you mean {NATIVE}?"),
        ("disabled_plugins = ['native']", 2, "warning", "the Go containerd takes URIs here"),
        ("disabled_plugins = [1]", 2, "error", "disabled_plugins has an item that must be a str"),
        (
            "required_plugins = ['io.containerd.snapshotter.v1.zfs']",
            2,
            "error",
            "pip install pycontainerd-snapshotter-zfs",
        ),
        (
            f"required_plugins = ['{NATIVE}']\ndisabled_plugins = ['{NATIVE}']",
            2,
            "error",
            "is required, and disabled at ",
        ),
        ("plugin_dir = '/p'", 2, "warning", "plugin_dir has no effect"),
        ("oom_score = -999", 2, "note", "oom_score has no effect on this daemon"),
        ("[grpc]\naddress = '/x'\n[ttrpc]\naddress = '/x'", 5, "error", "cannot both listen on /x"),
        ("SandboxImage = 'p'", 2, "note", "pinned_images.sandbox"),
        ("root = '/a'\nroot = '/b'", 3, "error", "Cannot overwrite a value"),
    ],
)
def test_a_finding_has_line_severity_and_a_way_out(write, monkeypatch, text, line, severity, message):
    found = installed()
    bare = attrs.evolve(found, configs={uri: one for uri, one in found.configs.items() if not uri.endswith(".zfs")})
    monkeypatch.setattr("pycontainerd.config.check.installed", lambda *_: bare)
    findings, _ = check(write(f"version = 3\n{text}\n"))
    assert any(
        (where, kind, message in sentence) == (str(line), severity, True) for where, kind, sentence in said(findings)
    ), said(findings)


def test_a_file_that_is_as_it_should_be_has_no_findings(write):
    assert check(write(f'version = 4\nroot = "/r"\n[plugins."{NATIVE}"]\nroot_path = "/n"\n'))[0] == []
    assert check(write(""))[0] == []


def test_errors_of_all_files_are_listed_in_order(write):
    main = write('version = 3\nimports = ["a.toml", "b.toml"]\nroot = 1\n[debug]\nlevel = 2\n')
    write("version = 3\nstate = 3\n", "a.toml")
    write("version = 4\nstate = 4\n[[[\n", "b.toml")
    findings, _ = check(main)
    places = [finding.where.rpartition("/")[2] for finding in findings if finding.severity == "error"]
    assert places == ["config.toml:3", "config.toml:5", "a.toml:2", "b.toml:2", "b.toml:3"]
    assert any("later than" in finding.message and "Go containerd refuses" in finding.message for finding in findings)


def test_a_value_that_a_later_file_replaces_is_checked_too(write):
    main = write(f'version = 3\nimports = ["a.toml"]\n[plugins."{NATIVE}"]\nroot_path = 1\n')
    write(f'version = 3\n[plugins."{NATIVE}"]\nroot_path = "/x"\n', "a.toml")
    assert [finding.where for finding in check(main)[0]] == [f"{main}:4"]


def test_a_table_of_a_plugin_that_nobody_knows_is_said_with_the_nearest(write):
    path = write(
        f'version = 3\n[plugins."{NATIVE}"]\n[plugins."io.containerd.snapshotter.v1.natvie"]\n[plugins."{min(GO)}"]\n'
    )
    (sentence,) = load(path).unknown_tables([NATIVE])
    assert (
        sentence == f"{path}:3: io.containerd.snapshotter.v1.natvie is not a plugin known here; did you mean {NATIVE}?"
    )


def test_the_names_of_go_are_uris():
    assert all(split_uri(uri) for uri in GO)


def test_every_key_of_the_main_table_and_of_our_plugins_says_what_it_does(plugins):
    silent = [
        f"{uri}: {field.name}"
        for uri, one in plugins.tables.items()
        for field in attrs.fields(one)
        if not doc(one, field)
    ]
    silent += [field.name for field in attrs.fields(Main) if not doc(Main, field) and not attrs.has(field.type)]
    assert silent == []


def test_the_default_text_reads_back_as_the_defaults(write, plugins):
    text = default_text(plugins)
    path = write(text.replace('imports = ["/etc/containerd/conf.d/*.toml"]', "imports = []"))
    settings, nothing = load(path), load(write("", "empty.toml"))
    for uri, config in plugins.tables.items():
        assert settings.plugin(uri, config) == config()
    assert (settings.root, settings.state, settings.address) == (nothing.root, nothing.state, DEFAULT_ADDRESS)
    assert settings.ttrpc_address == nothing.ttrpc_address
    assert effective(settings, plugins) == effective(nothing, plugins)
    assert check(path)[0] == []
    lines = text.splitlines()
    keys = [place for place, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert [lines[place] for place in keys if not lines[place - 1].startswith("#")] == []


def test_a_dump_is_the_effective_configuration_and_reads_back_as_itself(write, plugins):
    main = write(f'version = 2\nroot = "/r"\n[plugins.x]\na = [{{b = 1}}]\n[plugins."{NATIVE}"]\nroot_path = "/n"\n')
    text = dump_text(load(main), plugins, origins=True)
    assert f'root_path = "/n"  # {main}:6' in text
    made = tomli.loads(text)
    assert (made["root"], made["plugins"]["x"]) == ("/r", {"a": [{"b": 1}]})
    assert effective(load(write(text, "dump.toml")), plugins) == effective(load(main), plugins)


def test_explain_shows_value_default_and_every_layer(write, plugins):
    main = write('version = 2\nimports = ["a.toml"]\n[grpc]\naddress = "/one"\n')
    other = write('version = 4\n[plugins."io.containerd.server.v1.grpc"]\naddress = "/two"\n', "a.toml")
    text = explain(load(main), plugins, "grpc.address")
    assert text.splitlines()[2:] == [
        '  value    "/two"',
        f'  default  "{DEFAULT_ADDRESS}"',
        f'  set by   {main}:4: "/one" (as grpc.address)',
        f'           {other}:3: "/two"',
        f"  used     {other}:3",
    ]


@pytest.mark.parametrize(
    "key",
    [
        f'plugins."{NATIVE}".root_path',
        f"plugins.{NATIVE}.root_path",  # what a shell leaves of the quotes
        f"{NATIVE}.root_path",
        "plugins.native.root_path",
    ],
)
def test_explain_finds_a_key_under_every_name(write, plugins, key):
    main = write(f'version = 3\n[plugins."{NATIVE}"]\nroot_path = "/n"\n')
    assert f'{main}:3: "/n"' in explain(load(main), plugins, key)


def test_explain_of_a_default_a_table_an_alias_and_nothing(write, plugins):
    settings = load(write('[plugins.cri]\nsandbox_image = "p"\n'))
    assert "set by   nothing: this is the default" in explain(settings, plugins, "state")
    assert 'root_path = ""  # default' in explain(settings, plugins, NATIVE)
    assert '"p" (as plugins.cri.sandbox_image)' in explain(settings, plugins, "SandboxImage")
    with pytest.raises(ConfigError, match=r"there is no key debug\.levle; did you mean debug\.level\?"):
        explain(settings, plugins, "debug.levle")


def test_a_migrated_file_keeps_comments_and_order_and_adds_nothing(write):
    main = write(
        '# top\n\nversion = 2\n# the root\nroot = "/r" # here\nimports = [\n  # inner\n  "x*.toml", # mine\n]\n'
        "# pause\n[plugins.'io.containerd.grpc.v1.cri']\n  # the image\n  sandbox_image = 'p' # 'q' # r\n# end\n"
    )
    layers = read_layers(main)
    text = rewrite(layers[0])
    prove(layers, 0, text)
    assert text == (
        '# top\nversion = 4\n# the root\nroot = "/r"  # here\n# inner\n# mine\nimports = ["x*.toml"]\n\n# pause\n'
        '[plugins."io.containerd.cri.v1.images".pinned_images]\n# the image\nsandbox = "p"  # \'q\' # r\n# end\n'
    )


def test_a_rewritten_file_that_means_something_else_is_refused(write):
    layers = read_layers(write('version = 2\nroot = "/r"\n'))
    with pytest.raises(ConfigError, match="root is '/r' before and '/x' after"):
        prove(layers, 0, 'version = 4\nroot = "/x"\n')


def test_reading_a_configuration_loads_none_of_the_tools(write):
    path = write('version = 2\nroot = "/r"\n[plugins.cri]\nsandbox_image = "p"\n')
    script = f"import sys; from pycontainerd.config import load; load({path!r}).check(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    tools = {
        f"pycontainerd.config.{name}"
        for name in ("check", "commands", "keys", "plugins", "schema", "show", "typed", "toml")
    }
    assert (tools | {"cattrs", "stevedore", "argparse"}) & set(done.stdout.split()) == set()
