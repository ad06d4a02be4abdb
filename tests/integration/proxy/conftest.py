"""A back end in another process: see backend.py."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from pycontainerd.proxy.link import Limits, Link
from pycontainerd.sys.mount import remove_tree
from pycontainerd.testing.client import eventually


class Process:
    """backend.py, to be started, stopped and told to hang."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.address = f"{directory}/b.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = os.path.join(os.path.dirname(__file__), "backend.py")
        with open(f"{self.directory}/log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, script, self.address, self.directory], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        eventually(lambda: os.path.exists(self.address) or self._process.poll() is not None, "the back end is up")
        assert self._process.poll() is None, self.log()

    def kill(self) -> None:
        """End it as a crash does: its socket stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hanging(self, method: str) -> AbstractContextManager[None]:
        """Calls of ``method`` wait meanwhile."""
        return self._while(f"hang-{method}")

    def mute(self, method: str) -> AbstractContextManager[None]:
        """Calls of ``method`` are done meanwhile, but not answered."""
        return self._while(f"mute-{method}")

    @contextlib.contextmanager
    def _while(self, name: str) -> Iterator[None]:
        path = f"{self.directory}/{name}"
        open(path, "w").close()
        try:
            yield
        finally:
            os.unlink(path)

    def calls(self) -> list[list[str]]:
        """Method, namespace and lease of each call it has had."""
        with contextlib.suppress(FileNotFoundError), open(f"{self.directory}/calls") as file:
            return [line.split() for line in file]
        return []

    def snapshots(self, name: str) -> list[str]:
        """The directories of a snapshotter's snapshots."""
        with contextlib.suppress(FileNotFoundError):
            return os.listdir(f"{self.directory}/snapshots/{name}/snapshots")
        return []

    def log(self) -> str:
        with open(f"{self.directory}/log") as file:
            return file.read()


def made() -> Iterator[Process]:
    directory = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    process = Process(directory)
    try:
        yield process
    finally:
        process.kill()
        remove_tree(directory)


@pytest.fixture
def process() -> Iterator[Process]:
    """One that is not started yet."""
    yield from made()


@pytest.fixture(scope="module")
def shared_backend() -> Iterator[Process]:
    """One for all tests of a module: not to be stopped."""
    for process in made():
        process.start()
        yield process


@pytest.fixture
def backend(process: Process) -> Process:
    """One that runs."""
    process.start()
    return process


@pytest.fixture
def link(shared_backend: Process) -> Iterator[Link]:
    """A connection to the shared one."""
    link = Link("io.containerd.test.v1.proxy", shared_backend.address, limits=Limits(connect=5))
    link.connect()
    yield link
    link.close()


@pytest.fixture
def unique() -> str:
    """A name that nobody else uses."""
    return uuid.uuid4().hex[:12]
