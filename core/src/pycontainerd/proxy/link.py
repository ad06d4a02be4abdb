"""The way to another process: a channel, with a deadline for every call, a circuit breaker, and bounds.

Made for worker threads: everything here blocks. Errors of the transport and of the other side become those of
`contracts.errors`, with the plugin's name.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import grpc
from google.protobuf import descriptor_pool, message_factory

from pycontainerd.api.status import from_code
from pycontainerd.contracts.breaker import Breaker, State, Ticket
from pycontainerd.contracts.errors import ContainerdError, DeadlineExceeded, FailedPrecondition, Unavailable
from pycontainerd.contracts.service import LEASE_HEADER, NAMESPACE_HEADER
from pycontainerd.contracts.types import Scope

from .calls import LIMIT, Calls, Entry

log = logging.getLogger("containerd.proxy")

MAX_MESSAGE = 16 << 20  # bytes; the Go containerd's limit in both directions
CONNECT = 1.0  # seconds to connect, unless the config says otherwise
DEADLINE = 30.0  # seconds for a call of which neither the config nor the kind of plugin says anything
_BACKOFF = 1000  # milliseconds at most between the channel's own attempts to connect
# What grpc says when it had no answer. It has no other way to tell that from an answer with the same status.
_UNREACHED = ("failed to connect", "socket closed", "connection reset", "broken pipe", "goaway")
_END: Any = object()

Headers = tuple[tuple[str, str], ...]


@attrs.frozen
class Limits:
    """What calls of a plugin may take: seconds by method (``default`` for the others), and how many at once."""

    deadlines: Mapping[str, float] = attrs.field(factory=dict)
    connect: float = CONNECT
    calls: int = LIMIT

    def deadline(self, method: str) -> float:
        return self.deadlines.get(method, self.deadlines.get("default", DEADLINE))


def headers(scope: Scope | None) -> Headers:
    """What tells the other side in whose name a call is made."""
    if scope is None:
        return ()
    found: Headers = ((NAMESPACE_HEADER, scope.namespace),) if scope.namespace else ()
    return (*found, (LEASE_HEADER, scope.lease)) if scope.lease else found


class Link:
    """The connection of one plugin to the unix socket ``address`` (a path, or ``unix://`` and a path). Thread-safe.

    ``tell`` gets a sentence about the other side when it stops answering, and when it answers again.
    """

    def __init__(
        self,
        plugin: str,
        address: str,
        *,
        limits: Limits | None = None,
        calls: Calls | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.plugin = plugin
        self._tell = tell
        self.address = os.path.abspath(address.removeprefix("unix://"))
        self.limits = limits or Limits()
        self._calls = calls or Calls()
        self._breaker = Breaker()
        self._lock = threading.Lock()
        self._closed = False
        self._callables: dict[str, Any] = {}
        self._channel = grpc.insecure_channel(
            f"unix:{self.address}",
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.max_send_message_length", MAX_MESSAGE),
                ("grpc.default_authority", "localhost"),  # a path is no authority that every server accepts
                ("grpc.enable_http_proxy", 0),
                ("grpc.use_local_subchannel_pool", 1),  # a plugin that hangs holds up nobody else's connection
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", int(self.limits.connect * 1000)),
                ("grpc.max_reconnect_backoff_ms", _BACKOFF),
            ],
        )

    def connect(self) -> None:
        """Wait, not longer than ``limits.connect``, until the other side speaks gRPC.

        :raises Unavailable: it does not.
        """
        if problem := self._unreachable():
            raise Unavailable(problem)
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(self.limits.connect)
        except grpc.FutureTimeoutError:
            ready.cancel()  # else a thread goes on looking
            raise Unavailable(
                f"{self.address} takes connections, but no gRPC server answered within {self.limits.connect:g} s"
            ) from None

    def close(self) -> None:
        """End all calls; what is called later fails."""
        self._closed = True
        self._channel.close()

    def unary(self, service: str, method: str, request: Any, scope: Scope | None = None) -> Any:
        """Call a unary RPC.

        :raises Unavailable: the breaker is open, or the other side cannot be reached.
        :raises DeadlineExceeded: there was no answer in time.
        :raises ResourceExhausted: too many calls of this plugin are under way.
        :raises ContainerdError: the class for the status that was answered.
        """
        with self.exchange(method) as entry:
            return self._callable(service, method)(request, timeout=_left(entry), metadata=headers(scope))

    def stream(self, service: str, method: str, request: Any, scope: Scope | None = None) -> Iterator[Any]:
        """Call an RPC that streams its answers; the deadline is for all of them. Leaving it cancels the call.

        Errors as for `unary`.
        """
        with self.exchange(method) as entry:
            call = self._callable(service, method)(request, timeout=_left(entry), metadata=headers(scope))
            try:
                yield from call
            finally:
                call.cancel()

    def duplex(self, service: str, method: str, scope: Scope | None = None) -> Duplex:
        """Open an RPC that streams both ways; the deadline is for each exchange on it."""
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        begin = functools.partial(self._callable(service, method), iter(requests.get, None), metadata=headers(scope))
        return Duplex(self, method, requests, begin)

    @contextlib.contextmanager
    def exchange(self, method: str, cancel: Callable[[], None] | None = None) -> Iterator[Entry]:
        """What every call runs in: admission, a slot, and the translation of its errors.

        :param cancel: ends the call, where the transport does not do so at the deadline.
        """
        deadline = self.limits.deadline(method)
        ticket = self._admit()
        try:
            if ticket.trial:
                self._reconnect(ticket)
            with self._calls.take(
                self.plugin, method, self.address, deadline=deadline, limit=self.limits.calls, cancel=cancel
            ) as entry:
                try:
                    yield entry
                except grpc.RpcError as exc:
                    raise self._ended(ticket, exc, entry, deadline) from None
                self._answered(ticket)
        finally:
            with self._lock:
                self._breaker.abandoned(ticket)  # unless the breaker has been told how it ended

    def _admit(self) -> Ticket:
        if self._closed:
            raise Unavailable(f"{self.plugin} is closed: the daemon is stopping")
        now = time.monotonic()
        with self._lock:
            ticket = self._breaker.admit(now)
            if ticket is not None:
                return ticket
            wait = max(0.0, self._breaker.retry_at - now)
            again = "is under way" if self._breaker.state is State.HALF_OPEN else f"is in {wait:.1f} s"
            since = datetime.fromtimestamp(time.time() - (now - self._breaker.since), UTC)
            error = self._breaker.error
        raise Unavailable(
            f"{self.plugin} at {self.address} does not answer since {since:%Y-%m-%dT%H:%M:%SZ};"
            f" the next attempt {again}; the last error: {error}"
        )

    def _reconnect(self, ticket: Ticket) -> None:
        try:
            self.connect()
        except Unavailable as exc:
            self._failed(ticket, str(exc))
            raise Unavailable(f"{self.plugin}: {exc}") from None

    def _ended(self, ticket: Ticket, exc: grpc.RpcError, entry: Entry, deadline: float) -> ContainerdError:
        """The error for a call that did not succeed; the breaker is told whether the other side is to blame."""
        code, details = exc.code(), exc.details() or ""
        # An early answer of that kind is the other side's; grpc's clock may be ahead of ours a little.
        late = code is grpc.StatusCode.DEADLINE_EXCEEDED and _left(entry) < 0.1
        if late or entry.cancelled:
            said = f"{entry.call} at {self.address} was not answered within {deadline:g} s"
            self._failed(ticket, said)
            return DeadlineExceeded(f"{self.plugin}: {said}")
        if code is grpc.StatusCode.UNAVAILABLE:
            problem = self._unreachable()
            if problem or any(text in details.lower() for text in _UNREACHED):
                self._failed(ticket, problem or details)
                return Unavailable(f"{self.plugin}: {entry.call} at {self.address} failed: {problem or details}")
        self._answered(ticket)
        return from_code(code.value[0], f"{self.plugin}: {details or code.name}")

    def _answered(self, ticket: Ticket) -> None:
        with self._lock:
            before = self._breaker.state
            self._breaker.succeeded(ticket)
            closed = before is not self._breaker.state
        if closed:
            self._tell("it answers")
            log.info("a plugin answers again", extra={"fields": self._fields()})

    def _failed(self, ticket: Ticket, error: str) -> None:
        with self._lock:
            opened = self._breaker.state is State.CLOSED
            self._breaker.failed(ticket, time.monotonic(), error)
            opened = opened and self._breaker.state is State.OPEN
        if opened:
            self._tell(f"it does not answer since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: {error}")
            fields = {**self._fields(), "error": error}
            log.warning("a plugin does not answer: its calls fail at once until it does", extra={"fields": fields})

    def _fields(self) -> dict[str, str]:
        return {"plugin": self.plugin, "address": self.address}

    def _unreachable(self) -> str:
        """Why nobody can be reached at the address; empty: somebody takes connections there."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(self.limits.connect)
            try:
                probe.connect(self.address)
            except FileNotFoundError:
                return f"the socket {self.address} is not there"
            except ConnectionRefusedError:
                return f"nobody listens on the socket {self.address}"
            except BlockingIOError:
                return f"nobody accepts the connections that wait on the socket {self.address}"
            except OSError as exc:
                return f"cannot connect to {self.address}: {exc.strerror or exc}"
        return ""

    def _callable(self, service: str, method: str) -> Any:
        path = f"/{service}/{method}"
        found = self._callables.get(path)
        if found is None:
            rpc = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
            kind = "_".join("stream" if one else "unary" for one in (rpc.client_streaming, rpc.server_streaming))
            found = self._callables[path] = getattr(self._channel, kind)(
                path,
                request_serializer=message_factory.GetMessageClass(rpc.input_type).SerializeToString,
                response_deserializer=message_factory.GetMessageClass(rpc.output_type).FromString,
            )
        return found


class Duplex:
    """An RPC under way that streams both ways, one answer to each request. For one thread at a time."""

    def __init__(self, link: Link, method: str, requests: queue.SimpleQueue[Any], begin: Callable[[], Any]) -> None:
        self._link = link
        self._method = method
        self._requests = requests
        self._begin = begin
        self._call: Any = None
        self._open = True

    def ask(self, request: Any) -> Any:
        """Send ``request`` and wait for its answer; errors as for `Link.unary`. After one there are no more answers."""
        if not self._open:
            raise FailedPrecondition(f"{self._link.plugin}: {self._method} has ended")
        try:
            with self._link.exchange(self._method, self._cancel):
                if self._call is None:
                    self._call = self._begin()
                self._requests.put(request)
                response = next(self._call, _END)
        except BaseException:
            self._end()
            raise
        if response is _END:
            self._end()
            raise Unavailable(f"{self._link.plugin}: {self._method} was ended by the server before its time")
        return response

    def close(self) -> None:
        """Say that nothing more comes, and wait until the other side has let go. Fine when it has ended."""
        if not self._open:
            return
        if self._call is not None:
            self._requests.put(None)
            try:
                with self._link.exchange(self._method, self._cancel):
                    while next(self._call, _END) is not _END:
                        pass
            except ContainerdError as exc:
                fields = {"plugin": self._link.plugin, "error": str(exc)}
                log.debug("a stream did not end well", extra={"fields": fields})
        self._end()

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def _end(self) -> None:
        self._open = False
        self._requests.put(None)  # the thread that feeds the call ends
        self._cancel()


def _left(entry: Entry) -> float:
    """Seconds until its deadline."""
    return max(0.0, entry.deadline - time.monotonic())
