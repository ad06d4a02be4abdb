"""Images made on the spot, and archives of them. The same input always gives the same bytes.

As a command: ``python -m pycontainerd.testing.images --from-host --name NAME OUT.tar`` writes an OCI archive of one
image, made of this machine's own busybox (or shell and libraries), that runs ``/bin/sh``.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import zstandard

from pycontainerd.contracts import digests, media_types
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument
from pycontainerd.contracts.platforms import default_platform, parse
from pycontainerd.contracts.types import Platform

from .rootfs import Node, host_rootfs

CREATED = "2024-01-01T00:00:00Z"
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KINDS = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_MEDIA_TYPES = {"": media_types.OCI_LAYER, "gzip": media_types.OCI_LAYER_GZIP, "zstd": media_types.OCI_LAYER_ZSTD}


@attrs.frozen
class Blob:
    """Bytes with what a descriptor says of them."""

    media_type: str
    data: bytes = attrs.field(repr=False)
    algorithm: str = "sha256"

    @property
    def digest(self) -> str:
        return digests.of(self.data, self.algorithm)

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """The OCI descriptor, with further members such as ``platform``."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@attrs.frozen
class Layer:
    """A layer: its blob, and the digest of the tar in it."""

    blob: Blob
    diff_id: str
    tar: bytes = attrs.field(repr=False)


@attrs.frozen
class Image:
    """An image or an index of images: ``target`` and every blob below it, the target among them."""

    target: Blob
    blobs: Mapping[str, bytes] = attrs.field(repr=False)
    platform: Platform | None = None
    layers: Sequence[Layer] = ()
    config: Blob | None = None


def tar_of(nodes: Iterable[Node]) -> bytes:
    """A tar of ``nodes`` in their order, with no times and no names of users in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for node in nodes:
            info = tarfile.TarInfo(node.path)
            info.type, info.mode, info.uid, info.gid = _KINDS[node.kind], node.mode, node.uid, node.gid
            info.linkname, (info.devmajor, info.devminor) = node.link, node.device
            info.size = len(node.data) if node.kind == "file" else 0
            info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in node.xattrs}
            tar.addfile(info, io.BytesIO(node.data))
    return buffer.getvalue()


def layer(nodes: Iterable[Node], compression: str = "gzip") -> Layer:
    """A layer of ``nodes``, compressed with ``gzip``, ``zstd``, or ("") not at all."""
    return layer_of_tar(tar_of(nodes), compression)


def layer_of_tar(tar: bytes, compression: str = "gzip") -> Layer:
    """A layer of a tar as it is, well formed or not."""
    if compression not in _MEDIA_TYPES:
        raise InvalidArgument(f"compression {compression!r} is not known", hint="gzip, zstd or nothing")
    data = tar
    if compression == "gzip":
        data = gzip.compress(tar, 6, mtime=0)
    elif compression == "zstd":
        data = zstandard.ZstdCompressor(level=3).compress(tar)
    return Layer(Blob(_MEDIA_TYPES[compression], data), digests.of(tar), tar)


def image(
    layers: Sequence[Layer],
    *,
    config: Mapping[str, Any] | None = None,
    platform: Platform | None = None,
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
    algorithm: str = "sha256",
) -> Image:
    """An image of ``layers`` for ``platform`` (this machine's).

    :param config: the ``config`` object of its config: Cmd, Env, User … (a shell and a PATH without one).
    :param docker: with Docker's media types instead of OCI's.
    :param algorithm: what the digests of blobs are made with.
    """
    where = platform or default_platform()
    record = {
        "created": CREATED,
        **_platform(where),
        "config": dict(config if config is not None else {"Env": [DEFAULT_PATH], "Cmd": ["/bin/sh"]}),
        "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in layers]},
        "history": [{"created": CREATED, "created_by": "pycontainerd.testing"} for _ in layers],
    }
    described = Blob(media_types.DOCKER_CONFIG if docker else media_types.OCI_CONFIG, _json(record), algorithm)
    types = [_docker_type(item.blob.media_type) if docker else item.blob.media_type for item in layers]
    blobs = [Blob(type_, item.blob.data, algorithm) for type_, item in zip(types, layers, strict=True)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST,
        "config": described.descriptor(),
        "layers": [item.descriptor() for item in blobs],
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    target = Blob(str(manifest["mediaType"]), _json(manifest), algorithm)
    return Image(target, {item.digest: item.data for item in (target, described, *blobs)}, where, layers, described)


def index(images: Sequence[Image], *, docker: bool = False) -> Image:
    """An index of images for several platforms."""
    media_type = media_types.DOCKER_LIST if docker else media_types.OCI_INDEX
    manifests = [item.target.descriptor(platform=_platform(item.platform or default_platform())) for item in images]
    target = Blob(media_type, _json({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}))
    blobs = {digest: data for item in images for digest, data in item.blobs.items()}
    return Image(target, {**blobs, target.digest: target.data})


def host_image(config: Mapping[str, Any] | None = None, compression: str = "gzip") -> Image:
    """An image of this machine's own busybox, or shell and libraries."""
    return image([layer(host_rootfs(), compression)], config=config)


def multi_platform(platforms: Sequence[str] = ("linux/amd64", "linux/arm64", "linux/arm/v7")) -> Image:
    """An index whose images share a layer and differ in a file ``platform``. They run only where there is a program."""
    shared = layer([Node("shared", b"the same for all\n")])
    return index(
        [image([shared, layer([Node("platform", f"{name}\n".encode())])], platform=parse(name)) for name in platforms]
    )


def oci_archive(images: Mapping[str, Image], *, leave_out: Iterable[str] = ()) -> bytes:
    """An OCI archive of images by name; what follows a ``#`` in a key only tells keys apart.

    :param leave_out: digests of blobs that shall be missing.
    """
    missing = set(leave_out)
    manifests = []
    for key, item in images.items():
        name = key.partition("#")[0]
        tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "latest"
        notes = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag} if name else {}
        manifests.append(item.target.descriptor(**({"annotations": notes} if notes else {})))
    files = {f"blobs/{digest.replace(':', '/')}": data
             for item in images.values() for digest, data in item.blobs.items() if digest not in missing}  # fmt: skip
    described = _json({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests})
    layout = _json({"imageLayoutVersion": "1.0.0"})
    return _archive({**files, "index.json": described, "oci-layout": layout})


def docker_archive(images: Mapping[str, Image]) -> bytes:
    """An archive as ``docker save`` wrote it: a manifest.json, configs, and uncompressed layers."""
    files: dict[str, bytes] = {}
    described = []
    for name, item in images.items():
        if item.config is None:
            raise InvalidArgument(f"image {name}: Docker's archives have no indexes")
        config = f"{item.config.digest.removeprefix('sha256:')}.json"
        files[config] = item.config.data
        paths = [f"{one.diff_id.removeprefix('sha256:')}/layer.tar" for one in item.layers]
        files.update(zip(paths, (one.tar for one in item.layers), strict=True))
        described.append({"Config": config, "RepoTags": [name] if name else None, "Layers": paths})
    return _archive({**files, "manifest.json": _json(described)})


def _archive(files: Mapping[str, bytes]) -> bytes:
    names = {part for path in files for part in _parents(path)}
    nodes = [Node(path, mode=0o755, kind="directory") for path in names]
    return tar_of(sorted([*nodes, *(Node(path, data) for path, data in files.items())], key=lambda node: node.path))


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _docker_type(media_type: str) -> str:
    return media_types.DOCKER_LAYER if media_type == media_types.OCI_LAYER else media_types.DOCKER_LAYER_GZIP


def _platform(value: Platform) -> dict[str, Any]:
    found = {"architecture": value.architecture, "os": value.os}
    return {**found, "variant": value.variant} if value.variant else found


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pycontainerd.testing.images", description="Write an image archive made on this machine."
    )
    parser.add_argument("--from-host", action="store_true", help="of busybox, or of the shell and its libraries")
    parser.add_argument("--name", default="local/hello:latest", help="the image's name (default: %(default)s)")
    parser.add_argument("--docker", action="store_true", help="as docker save writes it, instead of OCI")
    parser.add_argument("path", metavar="OUT.tar", help="- is standard output")
    options = parser.parse_args(argv)
    if not options.from_host:
        parser.error("--from-host is needed: there is no other source yet")
    write = docker_archive if options.docker else oci_archive
    try:
        data = write({options.name: host_image()})
        if options.path == "-":
            sys.stdout.buffer.write(data)
        else:
            with open(options.path, "wb") as file:
                file.write(data)
    except (ContainerdError, OSError) as exc:
        sys.stderr.write(f"cannot write the image: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
