"""The differ of tar layers: io.containerd.differ.v1.walking."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, cast

from pycontainerd.contracts import digests
from pycontainerd.contracts import media_types as media
from pycontainerd.contracts.content import ContentStore, ContentWriter
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, DataLoss, NotImplemented
from pycontainerd.contracts.types import EMPTY, Descriptor, Mount
from pycontainerd.sys.fs import syncfs
from pycontainerd.sys.mount import mounted

from .apply import apply
from .compare import write_layer
from .pipeline import Pipeline
from .tar import Stream

UNCOMPRESSED = "containerd.io/uncompressed"


class WalkingDiffer:
    """See `contracts.diff.Differ`. ``scratch`` is the directory that mount points are made in."""

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch

    def apply(
        self, content: ContentStore, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = True
    ) -> Descriptor:
        if not media.is_layer(layer.media_type):
            raise NotImplemented(f"{layer.digest} is a {layer.media_type!r}, which is no layer this daemon can apply")
        reader = content.open(layer.digest)
        try:
            pipeline = Pipeline(reader)
            try:
                with mounted(mounts, self._scratch) as root:
                    apply(root, Stream(iter(pipeline)))
                    if sync:
                        _sync(root)
            finally:
                pipeline.close()
        except ContainerdError as exc:
            raise type(exc)(f"layer {layer.digest}: {exc.message}", hint=exc.hint) from exc
        finally:
            reader.close()
        return Descriptor(media.OCI_LAYER, pipeline.digest, pipeline.size)

    def compare(
        self,
        content: ContentStore,
        lower: Sequence[Mount],
        upper: Sequence[Mount],
        *,
        media_type: str = "",
        ref: str = "",
        labels: Mapping[str, str] = EMPTY,
    ) -> Descriptor:
        kind = media_type or media.OCI_LAYER_GZIP
        writer = content.writer(ref or f"diff-{time.time_ns()}-{secrets.token_hex(4)}")
        try:
            writer.truncate(0)
            sink = _Sink(writer, kind)
            with mounted(lower, self._scratch) as below, mounted(_read_only(upper), self._scratch) as above:
                write_layer(below, above, cast("IO[bytes]", sink))
            sink.finish()
            digest, size = writer.digest(), writer.status().offset
            try:
                writer.commit(size, digest, {**labels, UNCOMPRESSED: sink.diff_id})
            except AlreadyExists:
                content.update(digest, {UNCOMPRESSED: sink.diff_id}, (f"labels.{UNCOMPRESSED}",))
        finally:
            writer.close()
        return Descriptor(kind, digest, size)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(fd)
    except OSError as exc:
        raise DataLoss(f"the file system did not take the layer: {exc}") from exc
    finally:
        os.close(fd)


def _read_only(mounts: Sequence[Mount]) -> Sequence[Mount]:
    """Binds as read-only ones: comparing must not change what is compared."""
    return [
        Mount(one.type, one.source, one.target, tuple("ro" if option == "rw" else option for option in one.options))
        if one.type == "bind"
        else one
        for one in mounts
    ]


class _Sink:
    """A file for the tar writer: hashes what comes, compresses it, and writes it to an ingest."""

    def __init__(self, writer: ContentWriter, media_type: str) -> None:
        self._writer = writer
        self._hash = digests.hasher()
        self._compressor: Any = _compressor(media_type)

    @property
    def diff_id(self) -> str:
        return digests.text(self._hash)

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        out = self._compressor.compress(data) if self._compressor is not None else data
        if out:
            self._writer.write(out)
        return len(data)

    def finish(self) -> None:
        if self._compressor is not None:
            self._writer.write(self._compressor.flush())


def _compressor(media_type: str) -> Any:
    if not media.is_layer(media_type):
        raise NotImplemented(f"cannot make a layer of type {media_type!r}")
    if media_type.endswith("gzip"):
        from isal import isal_zlib

        return isal_zlib.compressobj(2, wbits=31)
    if media_type.endswith("zstd"):
        import zstandard

        return zstandard.ZstdCompressor().compressobj()
    if media_type.endswith("lz4"):
        raise NotImplemented("layers are not made with lz4 in this release", hint="use gzip or zstd")
    return None
