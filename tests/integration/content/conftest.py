"""A client of the content service that says what went over the wire, and the daemons to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.api.services.namespaces.v1 import namespace_pb2 as namespaces
from pycontainerd.testing import needs
from pycontainerd.testing.daemon import Daemon

CHUNK = 1 << 16
# What has no lease and no label is a collection's to take, which is not what these tests are about.
PATIENT = '[plugins."io.containerd.gc.v1.scheduler"]\nstartup_delay = "1h"\n'


class Wire:
    """Content of a namespace by plain RPCs; each failure is the `grpc.RpcError`."""

    def __init__(self, address: str, namespace: str = "one") -> None:
        options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(f"unix:{address}", options=options)
        self._metadata = (("containerd-namespace", namespace),)
        self.namespace = namespace

    def call(self, name: str, request: Any, reply: Any, service: str = "content.v1.Content") -> Any:
        made = self._channel.unary_unary(
            f"/containerd.services.{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply.FromString,
        )
        return made(request, metadata=self._metadata, timeout=60)

    def label_namespace(self, **labels: str) -> None:
        record = namespaces.Namespace(name=self.namespace, labels=labels)
        request = namespaces.CreateNamespaceRequest(namespace=record)
        self.call("Create", request, namespaces.CreateNamespaceResponse, "namespaces.v1.Namespaces")

    def write(self, *requests: pb.WriteContentRequest) -> list[pb.WriteContentResponse]:
        """One stream of ``requests``."""
        return list(self.writing(iter(requests)))

    def writing(self, requests: Iterator[pb.WriteContentRequest]) -> Any:
        made = self._channel.stream_stream(
            "/containerd.services.content.v1.Content/Write",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.WriteContentResponse.FromString,
        )
        return made(requests, metadata=self._metadata, timeout=60)

    def stat(self, ref: str, expected: str = "", total: int = 0) -> pb.WriteContentResponse:
        """Open the ingest ``ref`` and let go of it."""
        return self.write(pb.WriteContentRequest(action=pb.STAT, ref=ref, expected=expected, total=total))[0]

    def put(self, data: bytes, expected: str = "", ref: str = "put", **labels: str) -> str:
        """The digest of a new blob."""
        pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        requests = [
            pb.WriteContentRequest(action=pb.WRITE, ref=ref, offset=number * CHUNK, data=piece, expected=expected)
            for number, piece in enumerate(pieces)
        ]
        end = pb.WriteContentRequest(
            action=pb.COMMIT, ref=ref, offset=len(data), total=len(data), expected=expected, labels=labels
        )
        digest: str = self.write(*requests, end)[-1].digest
        return digest

    def read(self, digest: str, offset: int = 0, size: int = 0) -> bytes:
        made = self._channel.unary_stream(
            "/containerd.services.content.v1.Content/Read",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.ReadContentResponse.FromString,
        )
        request = pb.ReadContentRequest(digest=digest, offset=offset, size=size)
        return b"".join(one.data for one in made(request, metadata=self._metadata, timeout=60))

    def info(self, digest: str) -> pb.Info:
        return self.call("Info", pb.InfoRequest(digest=digest), pb.InfoResponse).info

    def update(self, digest: str, labels: dict[str, str], *paths: str) -> dict[str, str]:
        request = pb.UpdateRequest(info=pb.Info(digest=digest, labels=labels))
        request.update_mask.paths.extend(paths)
        return dict(self.call("Update", request, pb.UpdateResponse).info.labels)

    def digests(self, *filters: str) -> set[str]:
        made = self._channel.unary_stream(
            "/containerd.services.content.v1.Content/List",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.ListContentResponse.FromString,
        )
        answers = made(pb.ListContentRequest(filters=filters), metadata=self._metadata, timeout=60)
        return {info.digest for one in answers for info in one.info}

    def status(self, ref: str) -> pb.Status:
        return self.call("Status", pb.StatusRequest(ref=ref), pb.StatusResponse).status

    def refs(self, *filters: str) -> set[str]:
        found = self.call("ListStatuses", pb.ListStatusesRequest(filters=filters), pb.ListStatusesResponse)
        return {status.ref for status in found.statuses}

    def abort(self, ref: str) -> None:
        self.call("Abort", pb.AbortRequest(ref=ref), pb.ReadContentResponse)

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(params=["ours", "go"])
def daemon(request: pytest.FixtureRequest) -> Callable[..., Daemon]:
    """Makes daemons: ours and, to see that the tests say what is so, the Go containerd."""
    needs.root()
    if request.param == "go":
        needs.command("containerd")

    def make(config: str = "") -> Daemon:
        config += PATIENT
        return Daemon.ours(config=config) if request.param == "ours" else Daemon.go(config=config)

    return make


@pytest.fixture
def connect() -> Iterator[Callable[..., Wire]]:
    made: list[Wire] = []

    def make(daemon: Daemon, namespace: str = "one") -> Wire:
        made.append(Wire(daemon.address, namespace))
        return made[-1]

    yield make
    for one in made:
        one.close()
