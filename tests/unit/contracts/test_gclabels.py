"""Media types and the labels that keep children."""

from __future__ import annotations

import pytest

from pycontainerd.contracts import gclabels, media_types
from pycontainerd.contracts.types import Descriptor


def descriptor(media_type, number, **more):
    return Descriptor(media_type, f"sha256:{number:064x}", 1, **more)


def test_a_manifest_refers_to_its_config_and_layers_by_number():
    children = [
        descriptor(media_types.OCI_CONFIG, 1),
        descriptor(media_types.OCI_LAYER_GZIP, 2),
        descriptor(media_types.DOCKER_LAYER_GZIP, 3),
    ]
    labels = gclabels.child_labels(children)
    assert labels == {
        "containerd.io/gc.ref.content.config": children[0].digest,
        "containerd.io/gc.ref.content.l.0": children[1].digest,
        "containerd.io/gc.ref.content.l.1": children[2].digest,
    }
    assert list(gclabels.child_labels(children, want=gclabels.without_layers)) == [
        "containerd.io/gc.ref.content.config"
    ]


def test_an_index_refers_to_manifests_indexes_and_referrers():
    children = [
        descriptor(media_types.OCI_MANIFEST, 1),
        descriptor(media_types.DOCKER_MANIFEST, 2),
        descriptor(media_types.OCI_INDEX, 3),
        descriptor(media_types.OCI_MANIFEST, 4, annotations={gclabels.SUBJECT: "sha256:x"}),
    ]
    assert list(gclabels.child_labels(children)) == [
        "containerd.io/gc.ref.content.m.0",
        "containerd.io/gc.ref.content.m.1",
        "containerd.io/gc.ref.content.0",
        "containerd.io/gc.ref.content.referrer.sha256.000000000000",
    ]


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/vnd.oci.image.layer.v1.tar", ""),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip"),
        ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd"),
        ("application/vnd.oci.image.layer.v1.tar+lz4", "lz4"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar", media_types.DETECT),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
        ("application/vnd.oci.image.layer.v1.tar+brotli", None),
        ("application/vnd.oci.image.config.v1+json", None),
        ("application/x-tar", None),
        ("", None),
    ],
)
def test_the_compression_of_a_layer_is_in_its_media_type(media_type, expected):
    assert media_types.compression(media_type) == expected
