"""hosts.toml and what is assumed without it."""

from __future__ import annotations

import pytest

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.registry.hosts import CAPABILITIES, CONNECT, Host, configured, find, is_local, parse

FULL = b"""\
server = "https://upstream.test"
skip_verify = true
[host."https://mirror.test/prefix"]
  capabilities = ["pull", "Resolve"]
  ca = "ca.pem"
  client = [["c.pem", "/abs/k.pem"], "both.pem"]
  dial_timeout = "1m2.5s"
  [host."https://mirror.test/prefix".header]
    x-a = ["1", "2"]
[host."http://second.test:8080/root"]
  override_path = true
"""


def test_hosts_come_in_the_order_of_the_file_and_the_server_last():
    first, second, server = parse(FULL, "/d")
    assert first == Host(
        "https", "mirror.test", "/prefix/v2", frozenset({"pull", "resolve"}), ("/d/ca.pem",),
        (("/d/c.pem", "/abs/k.pem"), ("/d/both.pem", "")), None, {"x-a": ("1", "2")}, 62.5,
    )  # fmt: skip
    assert (second.origin, second.path, second.capabilities) == ("http://second.test:8080", "/root", CAPABILITIES)
    assert (server.origin, server.path, server.skip_verify) == ("https://upstream.test", "/v2", True)


@pytest.mark.parametrize(
    ("registry", "scheme", "origin", "fallback"),
    [
        ("docker.io", "", "https://registry-1.docker.io", False),
        ("r.test", "", "https://r.test", False),
        ("r.test:5000", "http", "http://r.test:5000", False),
        ("localhost", "", "https://localhost", False),
        ("localhost:443", "", "https://localhost:443", False),
        ("localhost:80", "", "http://localhost:80", False),
        ("localhost:5000", "", "https://localhost:5000", True),
        ("127.0.0.1:5000", "", "https://127.0.0.1:5000", True),
        ("[::1]:5000", "", "https://[::1]:5000", True),
        ("127.0.0.1:5000", "http", "http://127.0.0.1:5000", False),
    ],
)
def test_without_a_file_only_this_machine_is_reached_by_http(registry, scheme, origin, fallback):
    (host,) = configured(registry, "", scheme)
    assert (host.origin, host.fallback, host.dial_timeout) == (origin, fallback, CONNECT)


def test_a_directory_is_found_by_host_and_port_then_host_then_default(tmp_path):
    assert find(str(tmp_path), "r.test:5000") == ""
    for name in ("_default", "r.test:5000", "r.test_5000_"):
        (tmp_path / name).mkdir()
        assert find(str(tmp_path), "r.test:5000") == str(tmp_path / name)
    assert find(str(tmp_path), "other") == str(tmp_path / "_default")
    with pytest.raises(InvalidArgument):
        find(str(tmp_path), "..")


def test_dockers_directory_of_certificates_is_read(tmp_path):
    directory = tmp_path / "r.test"
    directory.mkdir()
    for name in ("a.crt", "b.cert", "b.key", "c.cert"):
        (directory / name).touch()
    (host,) = configured("r.test", str(tmp_path))
    assert host.ca == (str(directory / "a.crt"),)
    assert host.client == ((str(directory / "b.cert"), str(directory / "b.key")), (str(directory / "c.cert"), ""))
    assert host.skip_verify is None


def test_a_ca_for_localhost_means_that_it_is_verified(tmp_path):
    directory = tmp_path / "127.0.0.1_5000_"
    directory.mkdir()
    (directory / "hosts.toml").write_text('ca = "ca.pem"\n')
    (host,) = configured("127.0.0.1:5000", str(tmp_path))
    assert (host.skip_verify, host.scheme) == (None, "https")


@pytest.mark.parametrize(
    "text",
    ['capabilities = ["fly"]', "capabilities = 5", "ca = 5", "ca = [5]", 'client = [["a", "b", "c"]]', "server = 1",
     'server = "https://u:p@h"', 'dial_timeout = "fast"', 'dial_timeout = "1"', "skip_verify = 1", "host = 3", "not toml",
     "[header]\nx = 5", '[header]\nx = "a\\nb"', 'server = "https://[::1"'],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_with_its_path(text):
    with pytest.raises(InvalidArgument, match=r"/d/hosts\.toml"):
        parse(text.encode(), "/d")


def test_loopback_names_and_addresses_are_local():
    assert [is_local(host) for host in ("localhost", "127.9.9.9:1", "[::1]:1", "r.test", "10.0.0.1", "localhost.test")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
