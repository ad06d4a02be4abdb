"""Which names an image gets."""

from __future__ import annotations

import pytest

from pycontainerd.contracts.types import Descriptor
from pycontainerd.transfer.archive import full_name
from pycontainerd.transfer.naming import IMAGE_NAME, REF_NAME, ImageReference, Store

DIGEST = "sha256:" + "a" * 64


def target(**notes):
    return Descriptor("application/vnd.oci.image.index.v1+json", DIGEST, 1, annotations=notes)


def names(store, described, *, from_archive=True):
    return [name for name, _ in store.names(described, from_archive=from_archive)]


@pytest.mark.parametrize(
    ("reference", "notes", "expected"),
    [
        (ImageReference("r.test/a", True), {REF_NAME: "v1"}, ["r.test/a:v1"]),
        (ImageReference("r.test/a", True), {IMAGE_NAME: "r.test/a:v2", REF_NAME: "v2"}, ["r.test/a:v2"]),
        (ImageReference("r.test/a", True), {IMAGE_NAME: "r.test/ab:v2"}, []),
        (ImageReference("r.test/a", True, True), {IMAGE_NAME: "other.test/x:1"}, ["other.test/x:1"]),
        (ImageReference("r.test/a", True, False), {REF_NAME: "other.test/x:1"}, []),
        (ImageReference("r.test/a", True, True), {}, []),
        (ImageReference("r.test/a", True, True, True), {}, [f"r.test/a@{DIGEST}"]),
        (ImageReference("r.test/a", True, True, True), {REF_NAME: "v"}, ["r.test/a:v", f"r.test/a@{DIGEST}"]),
        (ImageReference("r.test/a", True, True, True, True), {REF_NAME: "v"}, ["r.test/a:v"]),
        (ImageReference("r.test/a:1"), {REF_NAME: "v"}, []),
    ],
)
def test_an_archives_annotations_name_its_images_under_the_prefix(reference, notes, expected):
    assert names(Store(references=[reference]), target(**notes)) == expected


def test_a_pulled_image_gets_its_name_and_the_further_ones():
    store = Store(
        "r.test/a:1", references=[ImageReference("r.test/b:2"), ImageReference("r.test/a", True, add_digest=True)]
    )
    assert names(store, target(), from_archive=False) == ["r.test/a:1", "r.test/b:2", f"r.test/a@{DIGEST}"]


def test_further_names_go_when_the_main_one_does():
    store = Store("r.test/a:1", {"k": "v"}, references=[ImageReference("r.test/b:2")])
    (_, first), (_, second) = store.names(target(), from_archive=False)
    assert first == {"k": "v"}
    assert second["containerd.io/gc.bref.image"] == "r.test/a:1"
    assert "containerd.io/gc.expire" in second


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("me/app:1", "docker.io/me/app:1"),
        ("r.test/app", "r.test/app:latest"),
        ("localhost/app:2", "localhost/app:2"),
        ("h:5000/app", "h:5000/app:latest"),
    ],
)
def test_dockers_short_names_are_made_full(short, full):
    assert full_name(short) == full
