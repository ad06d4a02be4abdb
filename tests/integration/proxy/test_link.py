"""What a link does when the other process is late, slow, or dead."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pycontainerd.api.services.sandbox.v1.sandbox_pb2 import ControllerPlatformRequest
from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    DeadlineExceeded,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from pycontainerd.contracts.types import Scope
from pycontainerd.proxy.calls import Calls
from pycontainerd.proxy.link import Limits, Link
from pycontainerd.proxy.sandbox import ProxySandboxController
from pycontainerd.proxy.snapshotter import ProxySnapshotter
from pycontainerd.testing.client import eventually

URI = "io.containerd.snapshotter.v1.remote"
pytestmark = pytest.mark.root


def connected(address: str, **deadlines: float) -> Iterator[ProxySnapshotter]:
    link = Link(URI, address, limits=Limits(deadlines, connect=5))
    yield ProxySnapshotter(link, "remote")
    link.close()


@pytest.fixture
def snapshotter(backend) -> Iterator[ProxySnapshotter]:
    yield from connected(backend.address, Stat=0.3)


def test_where_there_is_no_socket_it_says_so(tmp_path) -> None:
    with pytest.raises(Unavailable, match=r"the socket .*/none\.sock is not there"):
        Link(URI, str(tmp_path / "none.sock")).connect()


def test_where_nobody_listens_it_says_so(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    with pytest.raises(Unavailable, match="nobody listens"):
        Link(URI, str(tmp_path / "s")).connect()


def test_a_socket_that_speaks_no_grpc_is_told_from_one_that_is_not_there(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        link = Link(URI, str(tmp_path / "s"), limits=Limits(connect=0.2))
        with pytest.raises(Unavailable, match="no gRPC server answered within"):
            link.connect()
        link.close()


def test_an_answer_with_an_error_names_the_plugin_and_keeps_its_kind(snapshotter) -> None:
    with pytest.raises(NotFound, match=URI):
        snapshotter.stat("missing")
    snapshotter.prepare("a")
    with pytest.raises(AlreadyExists, match=URI):
        snapshotter.prepare("a")


def test_a_call_has_a_deadline_and_after_three_the_next_fail_at_once(backend, snapshotter) -> None:
    snapshotter.prepare("a")
    with backend.hanging("Stat"):
        for _ in range(3):
            with pytest.raises(DeadlineExceeded, match=rf"{URI}: Stat at .*b\.sock was not answered within 0.3 s"):
                snapshotter.stat("a")
        with pytest.raises(Unavailable) as refused:
            snapshotter.prepare("b")
    message = str(refused.value)
    for part in (URI, backend.address, "does not answer since 20", "the next attempt is in", "Stat at"):
        assert part in message
    assert [call[0] for call in backend.calls()] == ["Prepare", "Stat", "Stat", "Stat"]


def test_it_recovers_when_the_other_side_comes_back(backend, snapshotter, caplog) -> None:
    snapshotter.prepare("a")
    backend.kill()
    for _ in range(4):
        with pytest.raises(Unavailable, match="nobody listens"):
            snapshotter.stat("a")
    os.unlink(backend.address)
    backend.start()

    def answers() -> bool:
        try:
            return snapshotter.mounts("a") != []
        except Unavailable:
            return False

    with caplog.at_level(logging.INFO, "containerd.proxy"):
        eventually(answers, "the breaker closes")
    assert "a plugin answers again" in caplog.text


def test_a_restart_in_between_is_not_noticed(backend, snapshotter) -> None:
    snapshotter.prepare("a")
    backend.kill()
    os.unlink(backend.address)
    backend.start()
    eventually(lambda: attempt(snapshotter), "calls arrive again")
    assert [info.name for info in snapshotter.walk()] == ["a"]


def attempt(snapshotter: ProxySnapshotter) -> bool:
    try:
        snapshotter.mounts("a")
    except ContainerdError:
        return False
    return True


def test_calls_are_made_in_the_name_of_their_namespace_and_lease(backend, snapshotter) -> None:
    snapshotter.prepare("a")
    snapshotter.in_scope(Scope("ns", "lease-1")).mounts("a")
    assert backend.calls() == [["Prepare", "-", "-"], ["Mounts", "ns", "lease-1"]]


def test_a_sandbox_controller_is_called_by_its_name(backend) -> None:
    link = Link("io.containerd.sandbox.controller.v1.kata", backend.address, limits=Limits(connect=5))
    controller = ProxySandboxController(link, "kata")
    found = controller.call("Platform", ControllerPlatformRequest(sandbox_id="s"), Scope("ns"))
    assert (found.platform.os, found.platform.architecture) == ("kata", "s")
    assert backend.calls() == [["Platform", "ns", "-"]]
    controller.close()


def test_one_kind_of_call_that_hangs_leaves_room_for_others(backend) -> None:
    calls = Calls(stuck=0.3)
    link = Link(URI, backend.address, limits=Limits(calls=4, connect=5), calls=calls)
    snapshotter = ProxySnapshotter(link, "remote")
    snapshotter.prepare("a")
    with ThreadPoolExecutor(8) as pool:
        with backend.hanging("Remove"):
            held = [pool.submit(snapshotter.remove, name) for name in ("x", "y")]
            eventually(lambda: len(calls.under_way()) == 2, "both are under way")
            with pytest.raises(ResourceExhausted, match=rf"no room for Remove: 2 calls .* {URI} has been in Remove at"):
                snapshotter.remove("z")
            assert snapshotter.stat("a").name == "a"
        for one in held:
            assert isinstance(one.exception(), NotFound)
    link.close()


def test_who_holds_a_slot_is_named_in_the_log(backend, caplog) -> None:
    link = Link(URI, backend.address, limits=Limits({"Stat": 1.0}, connect=5), calls=Calls(slow=0.2))
    caplog.set_level(logging.WARNING, "containerd.proxy")
    with backend.hanging("Stat"), pytest.raises(DeadlineExceeded):
        ProxySnapshotter(link, "remote").stat("a")
    link.close()
    assert f"a slot is held: {URI} has been in Stat at {backend.address} for" in caplog.text


def test_closing_ends_calls_and_refuses_new_ones(backend) -> None:
    link = Link(URI, backend.address, limits=Limits(connect=5))
    snapshotter = ProxySnapshotter(link, "remote")
    raised: list[BaseException] = []

    def stat() -> None:
        try:
            snapshotter.stat("a")
        except ContainerdError as exc:
            raised.append(exc)

    with backend.hanging("Stat"):
        thread = threading.Thread(target=stat)
        thread.start()
        eventually(lambda: backend.calls(), "the call has arrived")
        snapshotter.close()
        thread.join()
    assert len(raised) == 1
    with pytest.raises(Unavailable, match="is closed"):
        snapshotter.stat("a")
