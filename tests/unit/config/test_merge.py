"""How files add up: as the Go containerd merges them, whatever the version of each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.config import ConfigError, load
from pycontainerd.config.document import Document
from pycontainerd.config.loader import merge, read_layers
from pycontainerd.config.records import Layer

OVERLAY = "io.containerd.snapshotter.v1.overlayfs"
THING = "io.example.thing.v1.x"


def test_files_of_every_version_make_one_configuration(write):
    main = write('version = 2\nimports = ["*.d/*.toml"]\nroot = "/2"\n[grpc]\naddress = "/g.sock"\n')
    write('[plugins.overlayfs]\nroot_path = "/1"\n', "conf.d/1.toml")
    write(f'version = 3\n[plugins."{OVERLAY}"]\nupperdir_label = true\n[ttrpc]\nuid = 4\n', "conf.d/3.toml")
    write('version = 4\n[plugins."io.containerd.server.v1.ttrpc"]\naddress = "/t.sock"\n', "conf.d/4.toml")
    made = load(main)
    assert made.values["plugins"][OVERLAY] == {"root_path": "/1", "upperdir_label": True}
    assert (made.root, made.address, made.ttrpc_address) == ("/2", "/g.sock", "/t.sock")
    assert [layer.version for layer in made.layers] == [2, 1, 3, 4]


def test_a_socket_that_follows_from_another_gives_way_to_one_that_is_written_anywhere(write):
    main = write('version = 3\nimports = ["b.toml"]\n[ttrpc]\naddress = "/t.sock"\n')
    write('version = 3\n[grpc]\naddress = "/g.sock"\n', "b.toml")
    assert load(main).ttrpc_address == "/t.sock"


def test_imports_apply_breadth_first(write):
    main = write('version = 4\nimports = ["a.toml", "b.toml"]\n')
    write('version = 4\nimports = ["c.toml"]\nstate = "/a"\n', "a.toml")
    write('version = 4\nstate = "/b"\n', "b.toml")
    write('version = 4\nstate = "/c"\n', "c.toml")
    made = load(main)
    assert [layer.path.rpartition("/")[2] for layer in made.layers] == ["config.toml", "a.toml", "b.toml", "c.toml"]
    assert made.state == "/c"


def test_outside_of_plugins_an_empty_value_changes_nothing_and_in_plugins_it_does(write):
    main = write(
        f'version = 4\nimports = ["a.toml"]\nroot = "/r"\noom_score = 5\n[plugins."{THING}"]\nt = true\ns = "s"\nl = ["a"]\n'
    )
    write(f'version = 4\nroot = ""\noom_score = 0\n[plugins."{THING}"]\nt = false\ns = ""\nl = []\n', "a.toml")
    made = load(main)
    assert (made.root, made.values["oom_score"]) == ("/r", 5)
    assert made.values["plugins"][THING] == {"t": False, "s": "", "l": []}
    assert made.where(("root",)) == f"{main}:3"


def test_lists_in_plugins_are_replaced_and_entries_of_proxy_plugins_whole(write):
    main = write(
        f'version = 4\nimports = ["a.toml"]\n[plugins."{THING}"]\nrequired_plugins = ["a"]\n'
        '[proxy_plugins.p]\ntype = "snapshot"\naddress = "/p"\n[timeouts]\na = "1s"\n'
    )
    write(
        f'version = 4\n[plugins."{THING}"]\nrequired_plugins = ["b"]\n[proxy_plugins.p]\ntype = "content"\n[timeouts]\nb = "2s"\n',
        "a.toml",
    )
    made = load(main)
    assert made.values["plugins"][THING]["required_plugins"] == ["b"]
    assert made.values["proxy_plugins"] == {"p": {"type": "content"}}
    assert made.values["timeouts"] == {"a": "1s", "b": "2s"}


def test_hidden_files_match_a_pattern_as_they_do_in_go(write):
    main = write('version = 4\nimports = ["d/*.toml"]\n')
    write('version = 4\nroot = "/h"\n', "d/.hidden.toml")
    assert load(main).root == "/h"


def test_a_missing_import_is_said_with_the_line_that_names_it(write):
    main = write('version = 4\nimports = [\n  "*.none",\n  "gone.toml",\n]\n')
    with pytest.raises(ConfigError, match=f"^{main}:4: cannot read config file .*gone.toml"):
        load(main)


def test_without_a_file_the_drop_ins_of_the_default_configuration_count(write, monkeypatch, tmp_path):
    second = write('version = 4\nroot = "/second"\n', "conf.d/2.toml")
    first = write('[plugins.overlayfs]\nroot_path = "/o"\n', "conf.d/1.toml")
    monkeypatch.setattr("pycontainerd.config.loader.DEFAULT_PATH", str(tmp_path / "none.toml"))
    monkeypatch.setattr("pycontainerd.config.loader.CONF_D", str(tmp_path / "conf.d/*.toml"))
    made = load()
    assert list(made.files) == [first, second]
    assert made.root == "/second"


def test_what_is_wrong_is_collected_and_reading_goes_on(write):
    main = write('version = 4\nimports = ["bad.toml", "none.toml", "good.toml"]\nroot = \nstate = "/s"\ntemp = nope\n')
    write("version = 9\n", "bad.toml")
    write('version = 4\nroot = "/good"\n', "good.toml")
    found = []
    made = merge(read_layers(main, found.append))
    assert [finding.where.rpartition("/")[2] for finding in found] == [
        "config.toml:3",
        "config.toml:5",
        "bad.toml:1",
        "config.toml:2",
    ]
    assert (made.root, made.state) == ("/good", "/s")


# A key holds a value, or a list, or a table: files that agree on which merge in any grouping.
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "root": st.sampled_from(["", "/a", "/b"]),
        "oom_score": st.integers(0, 2),
        "disabled_plugins": st.lists(st.sampled_from("abc"), max_size=3, unique=True),
        "timeouts": st.dictionaries(st.sampled_from("xy"), st.sampled_from(["1s", "2s"]), max_size=2),
        "plugins": st.dictionaries(
            st.sampled_from(["p", "q"]),
            st.fixed_dictionaries(
                {},
                optional={
                    "s": st.sampled_from(["", "v", "w"]),
                    "l": st.lists(st.integers(0, 2), max_size=2),
                    "t": st.dictionaries(st.sampled_from("mn"), st.integers(0, 2), max_size=2),
                },
            ),
            max_size=2,
        ),
    },
)


def as_layer(values, name):
    document = Document(values, {(key,): f"{name}:1" for key in values})
    return Layer(name, 4, "", document, document)


@settings(max_examples=150, deadline=None)
@given(TABLES, TABLES, TABLES)
def test_merging_is_associative(first, second, third):
    one, two, three = (as_layer(values, str(place)) for place, values in enumerate((first, second, third)))
    left = merge([as_layer(dict(merge([one, two]).values), "left"), three])
    right = merge([one, as_layer(dict(merge([two, three]).values), "right")])
    assert left.values == right.values == merge([one, two, three]).values
