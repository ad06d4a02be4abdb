"""From names of runtimes to what starts their shims."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from pycontainerd.api.runtime.bootstrap.v1.bootstrap_pb2 import BootstrapParams
from pycontainerd.contracts.errors import ContainerdError, DeadlineExceeded, FailedPrecondition, Internal, NotFound
from pycontainerd.contracts.runtime import RuntimeHandler
from pycontainerd.contracts.shim import ShimStart
from pycontainerd.contracts.types import AnyValue
from pycontainerd.tasks import bundle as bundles
from pycontainerd.tasks.bundle import RUNTIME_FILE, Bundle
from pycontainerd.tasks.command import Addresses, run
from pycontainerd.tasks.launcher import BinaryLauncher, Launchers, ZygoteLauncher
from pycontainerd.tasks.process import HeldProcess

ADDRESSES = Addresses("/g.sock", "/t.sock", "2.3.0")
OPTIONS = AnyValue("containerd.runc.v1.Options", b"\x08\x01")


class Handler:
    name = "io.containerd.mine.v1"
    driver = "package.module:driver"


class Zygote:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[ShimStart] = []

    async def start(self, request: ShimStart, *, timeout: float = 10.0) -> int:
        self.asked.append(request)
        return 4321

    def close(self) -> None:
        pass


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundles.create(str(tmp_path / "root"), str(tmp_path / "state"), "ns", "c", None)


def shim(path: Path, body: str, version: str = "1.6.20") -> str:
    """An executable that is a shim as far as its command line goes."""
    path.write_text(f'#!/bin/sh\nif [ "$1" = -v ]; then echo "  Version:  {version}"; exit; fi\n{body}\n')
    path.chmod(0o755)
    return str(path)


def test_a_handler_comes_before_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    shim(tmp_path / "containerd-shim-mine-v1", "")
    handler: RuntimeHandler = Handler()
    zygote = Zygote()
    launchers = Launchers({"mine": handler}, zygote, ADDRESSES, "/run/s")
    assert launchers.find("io.containerd.mine.v1") == ZygoteLauncher(handler, zygote, ADDRESSES, "/run/s")
    found = Launchers({}, zygote, ADDRESSES, "/run/s").find("io.containerd.mine.v1")
    assert isinstance(found, BinaryLauncher)
    assert found.path == str(tmp_path / "containerd-shim-mine-v1")


def test_what_nothing_provides_is_named_with_what_was_looked_for() -> None:
    with pytest.raises(NotFound, match=r"io\.containerd\.none\.v1.*containerd-shim-none-v1"):
        Launchers({}, None, ADDRESSES, "/run/s").find("io.containerd.none.v1")


def test_our_shim_gets_a_short_socket_and_is_kept_in_the_bundle(bundle: Bundle) -> None:
    zygote = Zygote()
    own = ZygoteLauncher(Handler(), zygote, ADDRESSES, "/run/s")
    found = asyncio.run(own.start(bundle, None))
    (asked,) = zygote.asked
    assert found.path == asked.socket
    assert os.path.dirname(asked.socket) == "/run/s"
    assert (asked.namespace, asked.id, asked.bundle) == ("ns", "c", bundle.path)
    assert (asked.publish_address, asked.driver) == ("/t.sock", "package.module:driver")
    assert bundle.read(RUNTIME_FILE) == "io.containerd.mine.v1"


def test_a_state_directory_that_is_too_deep_is_told(bundle: Bundle) -> None:
    own = ZygoteLauncher(Handler(), Zygote(), ADDRESSES, f"/{'d' * 80}")
    with pytest.raises(FailedPrecondition, match="107"):
        asyncio.run(own.start(bundle, None))


def test_a_shim_is_started_in_its_bundle_with_flags_and_addresses(bundle: Bundle, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    body = f'echo "$PWD|$TTRPC_ADDRESS|$GRPC_ADDRESS|$NAMESPACE|$*" > {seen}; echo unix:///s.sock'
    launcher = BinaryLauncher(shim(tmp_path / "containerd-shim-x-v1", body), ADDRESSES)
    found = asyncio.run(launcher.start(bundle, None))
    assert (found.address, found.version) == ("unix:///s.sock", 2)
    place, ttrpc, grpc, namespace, flags = seen.read_text().strip().split("|")
    assert (place, ttrpc, grpc, namespace) == (bundle.path, "/t.sock", "/g.sock", "ns")
    assert flags.startswith("-namespace ns -address /g.sock -publish-binary ")
    assert flags.endswith("-id c start")


@pytest.mark.parametrize("version", ["1.7.2", "2.2.0", "2.3.0", "v2.10.1"])
def test_options_go_in_the_form_that_the_shims_version_reads(bundle: Bundle, tmp_path: Path, version: str) -> None:
    seen = tmp_path / "seen"
    path = shim(tmp_path / "containerd-shim-x-v1", f"cat > {seen}; echo unix:///s.sock", version)
    asyncio.run(BinaryLauncher(path, ADDRESSES).start(bundle, OPTIONS))
    if version.lstrip("v").startswith("2.") and version != "2.2.0":
        message = BootstrapParams.FromString(seen.read_bytes())
        assert message.instance_id == "c"
        assert message.extensions[0].value.type_url == OPTIONS.type_url
    else:
        from google.protobuf.any_pb2 import Any

        found = Any.FromString(seen.read_bytes())
        assert (found.type_url, found.value) == (OPTIONS.type_url, OPTIONS.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("echo no good >&2; exit 3", "status 3: no good"),
        ("echo two words", "no address"),
        ("true", "no address"),
        ("kill -9 $$", "status -9"),
        ("head -c 100000 /dev/zero", "more than"),
    ],
)
def test_what_a_shim_says_when_it_fails_is_passed_on(bundle: Bundle, tmp_path: Path, body: str, says: str) -> None:
    launcher = BinaryLauncher(shim(tmp_path / "containerd-shim-x-v1", body), ADDRESSES)
    with pytest.raises(Internal, match=says):
        asyncio.run(launcher.start(bundle, None))


def test_a_file_that_is_no_program_is_told(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "containerd-shim-x-v1"
    path.write_bytes(b"\x00\x01")
    path.chmod(0o755)
    with pytest.raises(ContainerdError, match="cannot execute"):
        asyncio.run(BinaryLauncher(str(path), ADDRESSES).start(bundle, None))


def test_a_shim_that_hangs_is_killed(tmp_path: Path) -> None:
    path = shim(tmp_path / "hangs", "echo $$ > pid; exec sleep 100")
    with pytest.raises(DeadlineExceeded, match="did not finish"):
        asyncio.run(run([path, "start"], cwd=str(tmp_path), env=os.environ, timeout=0.5))
    assert HeldProcess.find(int((tmp_path / "pid").read_text())) is None


def test_a_process_is_killed_only_while_it_is_the_same() -> None:
    child = subprocess.Popen(["sleep", "100"])
    held = HeldProcess.find(child.pid)
    assert held is not None
    HeldProcess(held.pid, held.started - 1).kill()
    assert child.poll() is None
    assert held.alive
    held.kill()
    assert child.wait() == -signal.SIGKILL
    assert not held.alive
    held.kill()
    assert HeldProcess.find(0) is None
