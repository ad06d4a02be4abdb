"""Edits of specs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.errors import ContainerdError, InvalidArgument
from pycontainerd.contracts.types import AnyValue
from pycontainerd.oci import default_spec, edits, from_any, to_any
from pycontainerd.oci.image import edits_for
from pycontainerd.oci.image import parse as parse_config
from pycontainerd.oci.spec import MAX_SPEC


def test_a_later_variable_replaces_an_earlier_one_in_its_place() -> None:
    spec = edits.compose({}, [edits.env(["A=1", "B=2", "A=3"]), edits.env(["B"])])
    assert spec["process"]["env"] == ["A=3"]


def test_capabilities_are_added_once_and_dropped_everywhere() -> None:
    spec = default_spec()
    edits.compose(spec, [edits.add_capabilities(["net_admin", "CAP_KILL"]), edits.drop_capabilities(["CHOWN"])])
    for names in spec["process"]["capabilities"].values():
        assert names.count("CAP_NET_ADMIN") == 1
        assert names.count("CAP_KILL") == 1
        assert "CAP_CHOWN" not in names


def test_an_unknown_capability_is_named() -> None:
    with pytest.raises(InvalidArgument, match="CAP_FLY"):
        edits.add_capabilities(["CAP_FLY"])


def test_joining_a_namespace_replaces_the_new_one() -> None:
    spec = edits.compose(default_spec(), [edits.join_namespace("network", "/proc/1/ns/net")])
    assert [item for item in spec["linux"]["namespaces"] if item["type"] == "network"] == [
        {"type": "network", "path": "/proc/1/ns/net"}
    ]


def test_default_specs_share_nothing() -> None:
    one, other = default_spec(), default_spec()
    edits.compose(one, [edits.env(["A=1"]), edits.capabilities(["ALL"]), edits.host_namespace("pid")])
    assert other == default_spec()


@pytest.mark.parametrize(
    "text", ["", "type=bind", "type=bind,src=/a,dst=relative", "nonsense=1,dst=/a", "type,dst=/a", "options,dst=/a"]
)
def test_a_mount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="mount"):
        edits.parse_mount(text)


def test_a_mount_is_read_as_the_go_tool_reads_it() -> None:
    assert edits.parse_mount("type=bind,src=/a,dst=/b,options=rbind:ro") == {
        "type": "bind",
        "source": "/a",
        "destination": "/b",
        "options": ["rbind", "ro"],
    }


def test_specs_cross_the_api_unchanged() -> None:
    spec = default_spec("ns", "id")
    assert from_any(to_any(spec)) == spec


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 100_000, b" " * (MAX_SPEC + 1)])
def test_what_is_no_spec_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="spec"):
        from_any(AnyValue("x", data))


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "given_", "expected"),
    [
        (None, ["sh"], [], ["sh"]),
        (["/entry"], ["arg"], [], ["/entry", "arg"]),
        (["/entry"], ["arg"], ["mine"], ["/entry", "mine"]),
        (None, ["sh"], ["ls", "-l"], ["ls", "-l"]),
    ],
)
def test_the_command_line_is_of_entrypoint_cmd_and_arguments(
    entrypoint: list[str] | None, cmd: list[str], given_: list[str], expected: list[str]
) -> None:
    config = parse_config(json.dumps({"config": {"Entrypoint": entrypoint, "Cmd": cmd}}).encode())
    assert edits.compose({}, edits_for(config, given_))["process"]["args"] == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["config", "rootfs", "Env", "Cmd", "diff_ids", "Labels", "User"]), inner)
    ),
    max_leaves=8,
)


@given(_JSON)
@settings(max_examples=100, deadline=None)
def test_any_config_is_read_or_refused(value: object) -> None:
    try:
        config = parse_config(json.dumps(value).encode())
        edits.compose(default_spec(), edits_for(config))
    except ContainerdError as exc:
        assert exc.message
