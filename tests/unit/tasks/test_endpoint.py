"""What shims print when they have started."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.api.runtime.bootstrap.v1.bootstrap_pb2 import BootstrapResult
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument, NotImplemented
from pycontainerd.tasks.endpoint import MAX_ANSWER, Endpoint, parse

ADDRESS = "unix:///run/containerd/s/0123456789abcdef"


def test_a_bootstrap_message_is_read() -> None:
    answer = BootstrapResult(version=3, address=ADDRESS, protocol="ttrpc").SerializeToString()
    assert parse(answer) == Endpoint(ADDRESS, 3, "ttrpc")


@pytest.mark.parametrize("version", [2, 3])
def test_json_is_read(version: int) -> None:
    answer = json.dumps({"version": version, "address": ADDRESS, "protocol": "ttrpc"}).encode()
    assert parse(answer + b"\n") == Endpoint(ADDRESS, version)


def test_a_bare_address_speaks_version_2() -> None:
    assert parse(f"{ADDRESS}\n".encode()) == Endpoint(ADDRESS, 2)


def test_the_task_service_is_that_of_the_version() -> None:
    assert Endpoint(ADDRESS, 2).service == "containerd.task.v2.Task"
    assert Endpoint(ADDRESS, 3).service == "containerd.task.v3.Task"


def test_an_address_without_scheme_is_abstract() -> None:
    assert Endpoint("/containerd-shim/x.sock").path == "\0/containerd-shim/x.sock"
    assert Endpoint(ADDRESS).path == ADDRESS.removeprefix("unix://")


def test_only_unix_sockets_are_reached() -> None:
    with pytest.raises(NotImplemented, match="vsock"):
        _ = Endpoint("vsock://3:1024").path


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 4, "address": ADDRESS},
        {"version": 0, "address": ADDRESS},
        {"version": 3, "address": ADDRESS, "protocol": "grpc"},
    ],
)
def test_a_version_or_protocol_that_is_not_spoken_here_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(NotImplemented):
        parse(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"{",
        b"{}",
        b'{"version": "x", "address": 1}',
        b"two words",
        b"\xff\xfe",
        b"x" * (MAX_ANSWER + 1),
    ],
)
def test_what_is_no_address_is_refused(answer: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse(answer)


@settings(max_examples=200)
@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_answer_is_an_endpoint_or_an_error_of_the_family(answer: bytes) -> None:
    try:
        found = parse(answer)
    except ContainerdError:
        return
    assert found.address
    assert found.version in (2, 3)


@settings(max_examples=100)
@given(
    st.sampled_from([2, 3]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=50),
)
def test_what_is_kept_is_read_back(version: int, name: str) -> None:
    endpoint = Endpoint(f"unix:///{name}", version)
    assert parse(endpoint.to_json().encode()) == endpoint
