"""What is behind a socket, in the suites for all snapshotters and all content stores."""

from __future__ import annotations

import pytest

from pycontainerd.contracts.snapshots import Snapshotter
from pycontainerd.proxy.link import Link
from pycontainerd.proxy.snapshotter import ProxySnapshotter
from pycontainerd.testing.snapshotters import SnapshotterSuite


@pytest.mark.root
class TestProxySnapshotter(SnapshotterSuite):
    @pytest.fixture
    def snapshotter(self, link: Link, unique: str) -> Snapshotter:
        return ProxySnapshotter(link, unique)
