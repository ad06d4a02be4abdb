"""Media types of OCI image-spec and of Docker's image manifest version 2, schema 2."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_LAYER_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_LAYER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"

INDEXES = frozenset((OCI_INDEX, DOCKER_LIST))
MANIFESTS = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIGS = frozenset((OCI_CONFIG, DOCKER_CONFIG))
_LAYERS = (OCI_LAYER, OCI_LAYER_FOREIGN, DOCKER_LAYER, DOCKER_LAYER_FOREIGN)
_SUFFIXES = ("", "+gzip", "+zstd", "+lz4", ".gzip", ".zstd")

MAX_MANIFEST = 8 << 20  # bytes; as large as registries take (distribution-spec: at least 4 MiB)


def is_layer(media_type: str) -> bool:
    """Whether blobs of this type are layers that a differ of tar can apply."""
    return any(media_type == base + suffix for base in _LAYERS for suffix in _SUFFIXES)


def is_foreign(media_type: str) -> bool:
    """Whether such layers may not be pushed (nondistributable, foreign)."""
    return media_type.startswith((OCI_LAYER_FOREIGN, DOCKER_LAYER_FOREIGN))
