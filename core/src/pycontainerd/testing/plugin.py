"""The pytest plugin: fixtures with real daemons, a registry and images. Heavy parts are imported when a fixture is used.

A fixture's name says how long it lives: ``our_containerd`` for a test, ``our_containerd_module``, ``our_containerd_session``.
What a test uses it must not kill for others: take the short-lived one to stop, kill or restart a daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pycontainerd.contracts.content import ContentStore
    from pycontainerd.contracts.snapshots import SnapshotRecords
    from pycontainerd.metadata.database import SqliteDatabase

    from .daemon import Daemon
    from .kernels import RunningKernel
    from .registry import Registry

IMAGE = "local.test/hello:1"
"""The name of the image in `image_archive`."""


def _ours() -> Iterator[Daemon]:
    from . import needs
    from .daemon import Daemon

    needs.root()
    needs.command("runc")
    with Daemon.ours() as daemon:
        yield daemon


def _debian() -> Iterator[Daemon]:
    from . import needs
    from .daemon import Daemon

    needs.root()
    needs.command("runc")
    needs.command("containerd-shim-runc-v2")
    with Daemon.go(needs.command("containerd")) as daemon:
        yield daemon


def _registry() -> Iterator[Registry]:
    from . import needs
    from .registry import Registry

    with Registry(needs.command("docker-registry")) as registry:
        yield registry


@pytest.fixture
def our_containerd() -> Iterator[Daemon]:
    """This package's daemon, for one test."""
    yield from _ours()


@pytest.fixture(scope="module")
def our_containerd_module() -> Iterator[Daemon]:
    """This package's daemon, for the tests of a module."""
    yield from _ours()


@pytest.fixture(scope="session")
def our_containerd_session() -> Iterator[Daemon]:
    """This package's daemon, for all tests."""
    yield from _ours()


@pytest.fixture
def debian_containerd() -> Iterator[Daemon]:
    """The distribution's containerd, for one test."""
    yield from _debian()


@pytest.fixture(scope="module")
def debian_containerd_module() -> Iterator[Daemon]:
    """The distribution's containerd, for the tests of a module."""
    yield from _debian()


@pytest.fixture(scope="session")
def debian_containerd_session() -> Iterator[Daemon]:
    """The distribution's containerd, for all tests."""
    yield from _debian()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """An empty registry on loopback; tests put images under names of their own."""
    yield from _registry()


@pytest.fixture(scope="session")
def host_image() -> Any:
    """An image that runs ``/bin/sh`` and small commands (`pycontainerd.testing.images.Image`)."""
    from .images import host_image

    return host_image()


@pytest.fixture(scope="session")
def image_archive(host_image: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of an OCI archive with that image, called `IMAGE`."""
    from .images import oci_archive

    path = tmp_path_factory.mktemp("image") / "hello.tar"
    path.write_bytes(oci_archive({IMAGE: host_image}))
    return str(path)


@pytest.fixture(scope="session")
def host_rootfs(host_image: Any) -> Iterator[str]:
    """A directory with the files of `host_image`: a root file system in which ``/bin/sh`` runs."""
    import shutil
    import tempfile

    from pycontainerd.diff.apply import apply

    from . import needs

    needs.root()
    path = tempfile.mkdtemp(prefix="pyc-r", dir="/tmp")
    for layer in host_image.layers:
        apply(path, [layer.tar])
    yield path
    shutil.rmtree(path)


@pytest.fixture
def area() -> Iterator[str]:
    """A directory with a short name, for what is mounted or listened on; whatever is mounted in it is unmounted."""
    import tempfile

    from pycontainerd.sys.mount import remove_tree

    path = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    yield path
    remove_tree(path)


@pytest.fixture
def metadata_database(area: str) -> Iterator[SqliteDatabase]:
    """An empty metadata database."""
    from .stores import database

    with database(area) as opened:
        yield opened


@pytest.fixture
def snapshot_records(metadata_database: SqliteDatabase) -> SnapshotRecords:
    """What a snapshotter keeps its records in, empty."""
    from .stores import records

    return records(metadata_database)


@pytest.fixture
def namespaced_content(area: str, metadata_database: SqliteDatabase) -> ContentStore:
    """An empty content store, as the daemon gives one to a differ."""
    from .stores import content

    return content(area, metadata_database)


@pytest.fixture
def start_kernel(area: str) -> Iterator[Callable[..., RunningKernel]]:
    """Start a kernel of registrations alone: ``start_kernel(registration, …, config="TOML")``; see `RunningKernel`."""
    from .kernels import RunningKernel

    started: list[RunningKernel] = []

    def start(*registrations: Any, config: str = "") -> RunningKernel:
        kernel = RunningKernel(f"{area}/kernel{len(started)}", registrations, config)
        started.append(kernel)
        kernel.start()
        return kernel

    yield start
    for kernel in reversed(started):
        kernel.stop()
