"""Writing images as an OCI archive that Docker reads too. Blocks; the archive comes out in pieces."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence

import attrs

from pycontainerd.contracts import digests, gclabels, media_types, platforms
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.errors import DataLoss, InvalidArgument, NotFound
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.manifests import Manifest
from pycontainerd.contracts.platforms import Matcher
from pycontainerd.contracts.types import Descriptor, Platform

from .contents import MAX_NESTING, as_json, chunks, document, is_document
from .naming import IMAGE_NAME, REF_NAME

_BLOCK = 512


@attrs.frozen
class ExportOptions:
    """See containerd.types.transfer.ImageExportStream; without ``platforms`` it is this machine's."""

    platforms: Sequence[Platform] = ()
    all_platforms: bool = False
    skip_manifest: bool = False
    skip_non_distributable: bool = False


class Archive:
    """What an archive of some images has in it; `pieces` gives its bytes."""

    def __init__(self, content: ContentStore, options: ExportOptions) -> None:
        self._content = content
        self._options = options
        self._matcher = Matcher.exactly(*(options.platforms or [platforms.default_platform()]))
        self._blobs: dict[str, Descriptor] = {}
        self._index: list[Descriptor] = []
        self._docker: dict[str, tuple[Manifest, list[str]]] = {}

    def add(self, image: Image) -> None:
        """:raises NotFound: something of the image is not there, or nothing is for the platforms."""
        labels = self._content.info(image.target.digest).labels
        sources = {key: value for key, value in labels.items() if key.startswith(gclabels.DISTRIBUTION_SOURCE)}
        tag = image.name.rpartition("/")[2].partition("@")[0].partition(":")[2] or image.name
        notes = {**image.target.annotations, **sources, IMAGE_NAME: image.name, REF_NAME: tag}
        self._index.append(attrs.evolve(image.target, annotations=notes))
        chosen = self._walk(image.target, 0)
        if not chosen:
            wanted = ", ".join(platforms.format(item) for item in self._options.platforms) or "this machine's platform"
            raise NotFound(f"image {image.name} has no manifest for {wanted}")
        manifest = document(self._content, chosen[0])
        assert isinstance(manifest, Manifest)
        self._docker.setdefault(chosen[0].digest, (manifest, []))[1].append(image.name)

    def _walk(self, target: Descriptor, depth: int) -> list[Descriptor]:
        """Take ``target`` and what it needs in; the manifests of it that match, the best first."""
        if not is_document(target):
            raise InvalidArgument(f"{target.digest} is of type {target.media_type!r}: only manifests can be exported")
        if depth > MAX_NESTING:
            raise InvalidArgument(f"indexes are nested more than {MAX_NESTING} deep")
        found = document(self._content, target)
        self._blobs[target.digest] = target
        if isinstance(found, Manifest):
            for child in found.children:
                if not (self._options.skip_non_distributable and media_types.is_nondistributable(child.media_type)):
                    self._content.info(child.digest)
                    self._blobs[child.digest] = child
            return [target]
        ranked: list[tuple[int, Descriptor]] = []
        for child in found.manifests:
            rank = self._rank(child)
            if (rank is None and not self._options.all_platforms) or not is_document(child):
                continue
            inside = self._walk(child, depth + 1)
            ranked += [(rank, manifest) for manifest in inside] if rank is not None else []
        return [manifest for _, manifest in sorted(ranked, key=lambda pair: pair[0])]

    def _rank(self, child: Descriptor) -> int | None:
        return len(self._matcher.order) if child.platform is None else self._matcher.rank(child.platform)

    def pieces(self) -> Iterator[bytes]:
        """The archive, its entries in order of their names."""
        texts = {
            "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
            "index.json": json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": media_types.OCI_INDEX,
                    "manifests": [as_json(item) for item in self._index],
                }
            ).encode(),
        }
        if self._docker and not self._options.skip_manifest:
            texts["manifest.json"] = json.dumps(self._docker_manifest()).encode()
        blobs = {_path(digest): target for digest, target in self._blobs.items()}
        folders = {"blobs", *(path.rpartition("/")[0] for path in blobs)}
        for name in sorted({*texts, *blobs, *folders}):
            if name in blobs:
                yield _header(name, blobs[name].size, 0o444)
                yield from self._blob(blobs[name])
            elif name in texts:
                yield _header(name, len(texts[name]), 0o444 if name == "oci-layout" else 0o644)
                yield texts[name] + _padding(len(texts[name]))
            else:
                yield _header(name, 0, 0o755, folder=True)
        yield bytes(2 * _BLOCK)

    def _blob(self, target: Descriptor) -> Iterator[bytes]:
        state = digests.hasher(target.digest)
        for data in chunks(self._content, target):
            state.update(data)
            yield data
        if digests.text(state) != target.digest:
            raise DataLoss(
                f"blob {target.digest} of the content store is corrupt: it has the digest {digests.text(state)}"
            )
        yield _padding(target.size)

    def _docker_manifest(self) -> list[dict[str, object]]:
        return [
            {
                "Config": _path(manifest.config.digest),
                "RepoTags": [_familiar(name) for name in names],
                "Layers": [_path(layer.digest) for layer in manifest.layers],
            }
            for manifest, names in self._docker.values()
        ]


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _familiar(name: str) -> str:
    """The name as Docker shows it."""
    short = name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name
    return short if ":" in short.rpartition("/")[2] or "@" in short else f"{short}:latest"


def _header(name: str, size: int, mode: int, *, folder: bool = False) -> bytes:
    info = tarfile.TarInfo(f"{name}/" if folder else name)
    info.size, info.mode, info.type = size, mode, tarfile.DIRTYPE if folder else tarfile.REGTYPE
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
