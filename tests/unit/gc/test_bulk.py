"""Removal of many snapshots at once: all or none, children first."""

from __future__ import annotations

import os

import pytest

from pycontainerd.contracts.errors import FailedPrecondition, NotFound
from pycontainerd.contracts.snapshots import BulkRemoving
from pycontainerd.snapshots.records import RecordStore
from pycontainerd_snapshotter_overlay.snapshotter import OverlaySnapshotter


@pytest.fixture(params=["native", "overlayfs"])
def backend(request, world, tmp_path):
    if request.param == "native":
        yield world.backend
        return
    made = OverlaySnapshotter(str(tmp_path / "overlay"), RecordStore(world.database).records("overlayfs"))
    yield made
    made.close()


@pytest.fixture
def chain(backend):
    """Three committed snapshots on each other."""
    for number in range(3):
        backend.prepare(f"a{number}", f"s{number - 1}" if number else "")
        backend.commit(f"s{number}", f"a{number}")
    return backend


def names(backend) -> set[str]:
    return {info.name for info in backend.walk()}


def folders(backend) -> list[str]:
    backend.cleanup()
    return os.listdir(os.path.dirname(backend._dirs.path(1)))


def test_all_go_with_their_files(chain) -> None:
    assert isinstance(chain, BulkRemoving)
    chain.remove_many(["s2", "s1", "s0"])
    assert names(chain) == set()
    assert folders(chain) == []


@pytest.mark.parametrize(
    ("keys", "error"),
    [(["s0", "s1", "s2"], FailedPrecondition), (["s2", "s1", "lost"], NotFound), (["s1"], FailedPrecondition)],
)
def test_where_one_cannot_go_none_does_and_their_files_are_back(chain, keys, error) -> None:
    with pytest.raises(error):
        chain.remove_many(keys)
    assert names(chain) == {"s0", "s1", "s2"}
    assert len(folders(chain)) == 3
    assert chain.prepare("rw", "s2")
