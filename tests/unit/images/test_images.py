"""Image records over a real database."""

from __future__ import annotations

import asyncio

import pytest

from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.types import Descriptor, Scope
from pycontainerd.events.exchange import Exchange
from pycontainerd.images.images import MAX_NAME, Images
from pycontainerd.metadata.database import SqliteDatabase

TARGET = Descriptor("m", "sha256:" + "a" * 64, 5, {"note": "1"})
OTHER = Descriptor("m", "sha256:" + "b" * 64, 6)


@pytest.fixture
def store(tmp_path):
    database = SqliteDatabase(str(tmp_path / "m.db"), print, sync=False)
    loop = asyncio.new_event_loop()
    yield Images(database, Exchange(loop)).scoped(Scope("n"))
    database.close()
    loop.close()


def test_an_image_is_removed_only_as_what_the_caller_took_it_for(store):
    store.create(Image("i", TARGET))
    with pytest.raises(NotFound, match="by now"):
        store.delete("i", OTHER)
    assert store.get("i").target == TARGET
    store.delete("i", TARGET)
    with pytest.raises(NotFound):
        store.get("i")


def test_a_new_target_leaves_labels_alone_and_new_labels_the_target(store):
    store.create(Image("i", TARGET, {"a": "1"}))
    assert store.update(Image("i", OTHER, {"a": "2"}), ["target"]).labels == {"a": "1"}
    assert store.update(Image("i", TARGET, {"a": "2"}), ["labels.a"]).target == OTHER


def test_an_annotation_changes_alone(store):
    store.create(Image("i", TARGET))
    new = Image("i", Descriptor("m", TARGET.digest, 5, {"note": "2", "more": "3"}))
    assert store.update(new, ["annotations.more"]).target.annotations == {"note": "1", "more": "3"}
    assert store.update(new, ["annotations"]).target.annotations == {"note": "2", "more": "3"}


def test_filters_see_names_targets_labels_and_annotations(store):
    store.create(Image("a", TARGET, {"x.y/z": "1"}))
    store.create(Image("b", OTHER))
    for text, found in [
        ("name~=a", ["a"]),
        (f"target.digest=={OTHER.digest}", ["b"]),
        ("target.mediatype==m", ["a", "b"]),
        ('labels."x.y/z"', ["a"]),
        ("annotations.note==1", ["a"]),
        ("nothing", []),
    ]:
        assert [one.name for one in store.list([text])] == found, text


@pytest.mark.parametrize(
    "wrong",
    [
        Image("", TARGET),
        Image("n" * (MAX_NAME + 1), TARGET),
        Image("i", Descriptor("", TARGET.digest, 5)),
        Image("i", Descriptor("m", TARGET.digest, -1)),
        Image("i", Descriptor("m", "sha256:A", 5)),
        Image("i", TARGET, {"k": "v" * 5000}),
    ],
)
def test_an_image_that_cannot_be_is_refused_whole(store, wrong):
    with pytest.raises(InvalidArgument):
        store.create(wrong)
    assert list(store.list()) == []
