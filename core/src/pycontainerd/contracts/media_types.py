"""Media types of images (OCI image-spec, Docker image manifest v2 schema 2), and what each is. Pure."""

from __future__ import annotations

DOCKER = "application/vnd.docker."
OCI = "application/vnd.oci.image."

DOCKER_MANIFEST = DOCKER + "distribution.manifest.v2+json"
DOCKER_LIST = DOCKER + "distribution.manifest.list.v2+json"
DOCKER_SCHEMA1 = DOCKER + "distribution.manifest.v1+prettyjws"
DOCKER_CONFIG = DOCKER + "container.image.v1+json"
DOCKER_LAYER = DOCKER + "image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN = DOCKER + "image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_GZIP = DOCKER_FOREIGN + ".gzip"

OCI_MANIFEST = OCI + "manifest.v1+json"
OCI_INDEX = OCI + "index.v1+json"
OCI_CONFIG = OCI + "config.v1+json"
OCI_LAYER = OCI + "layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_LAYER_NONDISTRIBUTABLE = OCI + "layer.nondistributable.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
CHECKPOINT = "application/vnd.containerd.container.criu.checkpoint.criu.tar"
CHECKPOINT_CONFIG = "application/vnd.containerd.container.checkpoint.config.v1+proto"
SAVED_SNAPSHOT = "application/vnd.pycontainerd.snapshot.v1.tar+lz4"
"""A whole snapshot, to be restored as it was. No layer: its root directory is in it, and no name in it is a whiteout."""

DETECT = "detect"
MAX_MANIFEST = 8 << 20  # bytes; registries must take 4 MiB (distribution-spec), none takes more than this


MANIFESTS = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
INDEXES = frozenset({DOCKER_LIST, OCI_INDEX})
CONFIGS = frozenset({DOCKER_CONFIG, OCI_CONFIG})
_KNOWN_CONFIGS = CONFIGS | {CHECKPOINT, CHECKPOINT_CONFIG}
_LAYERS = (OCI + "layer.", DOCKER_LAYER, DOCKER_FOREIGN)
_SUFFIXES = {"gzip": "gzip", "zstd": "zstd", "lz4": "lz4"}


def is_manifest(media_type: str) -> bool:
    """A manifest of one platform, OCI's or Docker's."""
    return media_type in MANIFESTS


def is_index(media_type: str) -> bool:
    """A list of manifests, OCI's or Docker's."""
    return media_type in INDEXES


def is_config(media_type: str) -> bool:
    """A config of an image (what artifacts call config is not one)."""
    return media_type in CONFIGS


def is_known_config(media_type: str) -> bool:
    """A config of an image or of a checkpoint: what is kept by the label of configs."""
    return media_type in _KNOWN_CONFIGS


def is_layer(media_type: str) -> bool:
    """A layer of a file system, however compressed."""
    return media_type.startswith(_LAYERS)


def is_nondistributable(media_type: str) -> bool:
    """A layer that registries need not have (its descriptor may say in ``urls`` where it is)."""
    return media_type.startswith((OCI + "layer.nondistributable.", DOCKER_FOREIGN))


def compression(media_type: str) -> str | None:
    """How a layer (or a saved snapshot) is compressed: "" for not, ``gzip``, ``zstd``, ``lz4``, or `DETECT`; else None.

    Docker's plain layer type is found on compressed layers too, so its bytes have to tell. A suffix that changes
    more than the compression (``+encrypted``) makes the type unknown.
    """
    if media_type == SAVED_SNAPSHOT:
        return "lz4"
    if not is_layer(media_type):
        return None
    base, *suffixes = media_type.split("+")
    docker = base.startswith(DOCKER)
    if docker and not base.endswith(".tar"):
        base, _, ending = base.rpartition(".")
        suffixes.insert(0, ending)
    if not base.endswith(".tar") or len(suffixes) > 1:
        return None
    if suffixes:
        return _SUFFIXES.get(suffixes[0])
    return DETECT if docker else ""
