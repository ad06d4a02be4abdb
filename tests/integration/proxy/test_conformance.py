"""What is behind a socket, in the suites for all snapshotters and all content stores."""

from __future__ import annotations

import pytest

from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.snapshots import Snapshotter
from pycontainerd.contracts.types import Scope
from pycontainerd.proxy.content import ProxyContentStore
from pycontainerd.proxy.link import Link
from pycontainerd.proxy.snapshotter import ProxySnapshotter
from pycontainerd.testing.content_stores import ContentStoreSuite
from pycontainerd.testing.snapshotters import SnapshotterSuite


@pytest.mark.root
class TestProxySnapshotter(SnapshotterSuite):
    @pytest.fixture
    def snapshotter(self, link: Link, unique: str) -> Snapshotter:
        return ProxySnapshotter(link, unique)


class TestProxyContentStore(ContentStoreSuite):
    labels = False  # the store behind it has none
    readers_stay = False

    @pytest.fixture
    def store(self, link: Link, unique: str) -> ContentStore:
        return ProxyContentStore(link, Scope(unique))
