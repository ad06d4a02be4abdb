"""The suite for all snapshotters, run where the package is installed as a wheel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from acme_reflink.snapshotter import ReflinkSnapshotter

from pycontainerd.contracts.snapshots import SnapshotRecords, Snapshotter
from pycontainerd.testing.snapshotters import SnapshotterSuite


class SuiteOfReflink(SnapshotterSuite):
    @pytest.fixture
    def snapshotter(self, area: str, snapshot_records: SnapshotRecords) -> Iterator[Snapshotter]:
        made = ReflinkSnapshotter(area, snapshot_records, "cp")
        yield made
        made.close()
        made.cleanup()
