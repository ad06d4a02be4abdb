"""Digests of another algorithm: blobs over the wire, and images of them from archive to container and back."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import grpc
import pytest

from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.contracts import digests
from pycontainerd.testing import images

pytestmark = pytest.mark.root

DATA = b"".join(b"%d bottles of data\n" % number for number in range(40_000))
HALF = len(DATA) // 2


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_a_blob_is_hashed_as_it_is_expected_from_the_first_byte_on(
    our_containerd_module: Any, connect: Any, algorithm: str
) -> None:
    wire = connect(our_containerd_module, algorithm)
    digest = digests.of(DATA, algorithm)
    part = pb.WriteContentRequest(action=pb.WRITE, ref="r", data=DATA[:HALF], total=len(DATA), expected=digest)
    assert wire.write(part)[-1].digest == digests.of(DATA[:HALF], algorithm)
    assert wire.stat("r", digest).digest == digests.of(DATA[:HALF], algorithm)
    end = {"ref": "r", "offset": HALF, "data": DATA[HALF:]}
    with pytest.raises(grpc.RpcError) as found:
        wire.write(pb.WriteContentRequest(action=pb.COMMIT, expected=digests.of(b"other", algorithm), **end))
    assert found.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    end = {"ref": "r", "offset": len(DATA)}
    labels = {"containerd.io/gc.root": "test"}
    assert (
        wire.write(pb.WriteContentRequest(action=pb.COMMIT, expected=digest, labels=labels, **end))[-1].digest == digest
    )
    assert wire.read(digest) == DATA
    assert (wire.info(digest).size, wire.digests(f"digest=={digest}")) == (len(DATA), {digest})
    wire.call("Delete", pb.DeleteContentRequest(digest=digest), pb.ReadContentResponse)


@pytest.mark.parametrize("local", [False, True], ids=["by the daemon", "by the client"])
def test_an_image_of_sha512_is_imported_run_and_exported(
    our_containerd_module: Any, host_image: Any, tmp_path: Path, local: bool
) -> None:
    name = f"local.test/strong:{int(local)}"
    image = images.image(host_image.layers, algorithm="sha512")
    archive = tmp_path / "in.tar"
    archive.write_bytes(images.oci_archive({name: image}))
    ctr = [sys.executable, "-m", "pycontainerd.ctr.main", "-a", our_containerd_module.address]
    how = ["--local"] if local else []
    subprocess.run([*ctr, "images", "import", *how, str(archive)], check=True, capture_output=True)
    run = [*ctr, "run", "--rm", name, f"strong-{int(local)}", "/bin/echo", "hello"]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "hello\n"
    subprocess.run([*ctr, "images", "verify", name], check=True, capture_output=True)
    out = tmp_path / "out.tar"
    subprocess.run([*ctr, "images", "export", str(out), name], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(out.read_bytes())) as tar:
        exported = {member.name for member in tar.getmembers() if member.name.startswith("blobs/sha512/")}
    assert exported - {"blobs/sha512/"} >= {f"blobs/{digest.replace(':', '/')}" for digest in image.blobs}
