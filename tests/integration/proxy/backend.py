"""A process that serves snapshots, content and diffs on a unix socket, for proxies to be tested with.

    python backend.py SOCKET DIRECTORY

Every snapshotter name has a native snapshotter of its own, every namespace a content store. The snapshotter ``lazy`` has every
layer of every image already, as one that fetches when files are read: there is a file LAZY in each. While there is a file
``DIRECTORY/hang-METHOD``, calls of METHOD wait; while there is ``DIRECTORY/mute-METHOD`` they are done, but not
answered; ``DIRECTORY/calls`` has a line for each call that came:
method, namespace, lease.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from pycontainerd.api.services.sandbox.v1 import sandbox_pb2
from pycontainerd.api.status import to_code
from pycontainerd.api.types import platform_pb2
from pycontainerd.api.wire import encoded
from pycontainerd.content.local import LocalStore
from pycontainerd.content.service import ContentRpc
from pycontainerd.content.service_write import WriteStream
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.errors import AlreadyExists
from pycontainerd.contracts.service import LEASE_HEADER, NAMESPACE_HEADER, Call
from pycontainerd.contracts.snapshots import Snapshotter
from pycontainerd.contracts.types import EMPTY, Mount, Scope
from pycontainerd.diff.differ import WalkingDiffer
from pycontainerd.diff.service import DiffRpc
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.server.rpc import Method, methods
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.snapshots.service import SnapshotsRpc

CODES = {code.value[0]: code for code in grpc.StatusCode}


class Lazy:
    """What is asked for with a target is there."""

    def __init__(self, inner: NativeSnapshotter) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        mounts = self._inner.prepare(key, parent, labels)
        target = labels.get("containerd.io/snapshot.ref")
        if target is None:
            return mounts
        open(f"{mounts[0].source}/LAZY", "w").close()
        self._inner.commit(target, key, labels)
        raise AlreadyExists(f"target snapshot {target}: already exists")


class Backend:
    """The snapshotters and stores, made when they are asked for."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._records = RecordStore(SqliteDatabase(f"{directory}/metadata.db", print, sync=False))
        self._snapshotters: dict[str, Any] = {}
        self._stores: dict[str, ContentStore] = {}
        self._lock = threading.Lock()

    def snapshotter(self, name: str) -> Any:
        with self._lock:
            if name not in self._snapshotters:
                records = self._records.records(name)
                made = NativeSnapshotter(f"{self._directory}/snapshots/{name}", records)
                self._snapshotters[name] = Lazy(made) if name == "lazy" else made
            return self._snapshotters[name]

    def store(self, namespace: str) -> ContentStore:
        with self._lock:
            if namespace not in self._stores:
                self._stores[namespace] = LocalStore(f"{self._directory}/content/{namespace}")
            return self._stores[namespace]


class Snapshots:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def scoped(self, scope: Scope, snapshotter: str) -> Snapshotter:
        return self._backend.snapshotter(snapshotter)


class Content:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def scoped(self, scope: Scope) -> ContentStore:
        return self._backend.store(scope.namespace)


class Controller:
    SERVICE = "containerd.services.sandbox.v1.Controller"

    def Platform(self, request: sandbox_pb2.ControllerPlatformRequest, call: Call) -> Any:
        return sandbox_pb2.ControllerPlatformResponse(
            platform=platform_pb2.Platform(os=request.sandboxer, architecture=request.sandbox_id)
        )


class Handlers(grpc.GenericRpcHandler):
    """The methods of all services, with synchronous handlers."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        backend = Backend(directory)
        self._content = Content(backend)
        os.makedirs(f"{directory}/diff", exist_ok=True)
        services: list[Any] = [
            SnapshotsRpc(Snapshots(backend)),  # type: ignore[arg-type]
            ContentRpc(self._content),
            Controller(),
            DiffRpc(WalkingDiffer(f"{directory}/diff"), self._content),
        ]
        self._methods = {method.path: method for service in services for method in methods(service)}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = self._methods.get(details.method)
        if method is None or method.handler is None:
            return None
        codec = {
            "request_deserializer": method.request.FromString,
            "response_serializer": encoded,
        }
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(self._edge(method, self._write), **codec)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._edge(method, method.handler), **codec)

        def one(request: Any, context: Any) -> Any:
            def answers(request: Any, call: Call) -> Iterator[Any]:
                assert method.handler is not None
                yield method.handler(request, call)

            return next(self._edge(method, answers)(request, context))

        return grpc.unary_unary_rpc_method_handler(one, **codec)

    def _edge(self, method: Method, handler: Callable[[Any, Call], Any]) -> Callable[[Any, Any], Iterator[Any]]:
        name = method.path.rpartition("/")[2]

        def run(request: Any, context: Any) -> Iterator[Any]:
            metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
            with open(f"{self._directory}/calls", "a") as file:
                file.write(f"{name} {metadata.get(NAMESPACE_HEADER, '-')} {metadata.get(LEASE_HEADER, '-')}\n")
            self._wait(f"hang-{name}", context)
            if not context.is_active():
                return  # whoever asked has given up
            try:
                for response in handler(request, Call({NAMESPACE_HEADER: "none", **metadata})):
                    self._wait(f"mute-{name}", context)
                    yield response
            except Exception as exc:
                context.abort(CODES[to_code(exc)], str(exc))

        return run

    def _wait(self, file: str, context: Any) -> None:
        while os.path.exists(f"{self._directory}/{file}") and context.is_active():
            time.sleep(0.02)

    def _write(self, requests: Iterator[Any], call: Call) -> Iterator[Any]:
        stream = WriteStream(self._content.scoped(call.scope))
        try:
            yield from map(stream.handle, requests)
        finally:
            stream.close()


def main(address: str, directory: str) -> None:
    server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handlers(directory),))
    server.add_insecure_port(f"unix:{address}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
