"""The differ of tar layers: io.containerd.differ.v1.walking."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from typing import IO, Any, cast

from pycontainerd.contracts import digests
from pycontainerd.contracts import media_types as media
from pycontainerd.contracts.content import ContentStore, ContentWriter
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, DataLoss, NotImplemented
from pycontainerd.contracts.types import EMPTY, Descriptor, Mount
from pycontainerd.sys.fs import syncfs
from pycontainerd.sys.mount import mounted, translate
from pycontainerd.sys.userns import in_user_namespace

from .apply import apply
from .compare import write_layer, write_tree
from .limits import Limits
from .pipeline import Pipeline

UNCOMPRESSED = "containerd.io/uncompressed"
_PLAIN_BIND = {"bind", "rbind", "rw"}


class WalkingDiffer:
    """See `contracts.diff.Differ`. ``scratch`` is the directory that mount points are made in."""

    def __init__(self, scratch: str, limits: Limits | None = None) -> None:
        self._scratch = scratch
        self._limits = limits or Limits()
        self._skip_devices = in_user_namespace()

    def apply(
        self, content: ContentStore, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = True
    ) -> Descriptor:
        compression = media.compression(layer.media_type)
        if compression is None:
            raise NotImplemented(f"{layer.digest} is a {layer.media_type!r}, which is no layer this daemon can apply")
        reader = content.open(layer.digest)
        try:
            pipeline = Pipeline(reader, compression, layer.digest, self._limits)
            try:
                with self._reachable(mounts) as root:
                    apply(
                        root,
                        pipeline,
                        self._limits,
                        skip_devices=self._skip_devices,
                        whiteouts=layer.media_type != media.SAVED_SNAPSHOT,
                    )
                    if sync:
                        _sync(root)
            finally:
                pipeline.close()
        except ContainerdError as exc:
            raise type(exc)(f"layer {layer.digest}: {exc.message}", hint=exc.hint) from exc
        finally:
            reader.close()
        return Descriptor(media.OCI_LAYER, pipeline.digest, pipeline.size)

    def _reachable(self, mounts: Sequence[Mount]) -> AbstractContextManager[str]:
        """Where to write so that it is in ``mounts``: a bind mount's source is as good as the mount of it."""
        if len(mounts) == 1 and _is_plain_bind(mounts[0]):
            return nullcontext(mounts[0].source)
        return mounted(mounts, self._scratch)

    def compare(
        self,
        content: ContentStore,
        lower: Sequence[Mount],
        upper: Sequence[Mount],
        *,
        media_type: str = "",
        ref: str = "",
        labels: Mapping[str, str] = EMPTY,
        epoch: datetime | None = None,
    ) -> Descriptor:
        kind = media_type or media.OCI_LAYER_GZIP
        compressor = _compressor(kind)
        ref = ref or f"diff-{time.time_ns()}-{secrets.token_hex(4)}"
        writer = content.writer(ref)
        try:
            writer.truncate(0)
            sink = _Sink(writer, compressor)
            with (
                mounted(lower, self._scratch, read_only_view=True) as below,
                mounted(upper, self._scratch, read_only_view=True) as above,
            ):
                if kind == media.SAVED_SNAPSHOT:
                    write_tree(above, cast("IO[bytes]", sink))
                else:
                    write_layer(below, above, cast("IO[bytes]", sink), epoch)
            sink.finish()
        except BaseException as exc:
            writer.close()
            with suppress(ContainerdError):  # the first failure is the one to tell
                content.abort(ref)
            if isinstance(exc, OSError):
                raise translate(exc, "cannot compare the snapshots") from exc
            raise
        try:
            digest, size = writer.digest(), writer.status().offset
            try:
                writer.commit(size, digest, {**labels, UNCOMPRESSED: sink.diff_id})
            except AlreadyExists:
                content.update(digest, {UNCOMPRESSED: sink.diff_id}, (f"labels.{UNCOMPRESSED}",))
        finally:
            writer.close()
        return Descriptor(kind, digest, size)


def _is_plain_bind(mount: Mount) -> bool:
    """Whether ``mount`` changes nothing of the directory it shows."""
    plain = mount.type == "bind" and not mount.target and set(mount.options) <= _PLAIN_BIND
    return plain and os.path.isdir(mount.source)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(fd)
    except OSError as exc:
        raise DataLoss(f"the file system did not take the layer: {exc}") from exc
    finally:
        os.close(fd)


class _Sink:
    """A file for the tar writer: hashes what comes, compresses it, and writes it to an ingest."""

    def __init__(self, writer: ContentWriter, compressor: Any) -> None:
        self._writer = writer
        self._hash = digests.hasher()
        self._compressor = compressor
        begin = getattr(compressor, "begin", None)  # lz4's frames have a header of their own
        if begin is not None:
            writer.write(begin())

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
    """What compresses a layer of that type; None where nothing has to."""
    compression = media.compression(media_type)
    if compression == "gzip":
        from isal import isal_zlib

        return isal_zlib.compressobj(2, wbits=31)
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor().compressobj()
    if compression == "lz4":
        import lz4.frame

        return lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX1MB, content_checksum=True)
    if compression in ("", media.DETECT):
        return None
    raise NotImplemented(f"cannot make a layer of type {media_type!r}", hint="use gzip, zstd or lz4")
