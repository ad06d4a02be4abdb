import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Node(_message.Message):
    __slots__ = ("kind", "namespace", "key")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    key: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class CollectRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CollectResponse(_message.Message):
    __slots__ = ("removed", "bytes", "spared", "mark_seconds", "transaction_seconds", "removal_seconds", "started_at")
    class RemovedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SPARED_FIELD_NUMBER: _ClassVar[int]
    MARK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REMOVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    removed: _containers.ScalarMap[str, int]
    bytes: int
    spared: int
    mark_seconds: float
    transaction_seconds: float
    removal_seconds: float
    started_at: _timestamp_pb2.Timestamp
    def __init__(self, removed: _Optional[_Mapping[str, int]] = ..., bytes: _Optional[int] = ..., spared: _Optional[int] = ..., mark_seconds: _Optional[float] = ..., transaction_seconds: _Optional[float] = ..., removal_seconds: _Optional[float] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("all_namespaces",)
    ALL_NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    all_namespaces: bool
    def __init__(self, all_namespaces: _Optional[bool] = ...) -> None: ...

class Items(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("node", "bytes", "reason")
    NODE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    node: Node
    bytes: int
    reason: str
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., bytes: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class WhyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class WhyResponse(_message.Message):
    __slots__ = ("steps",)
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("node", "by")
    NODE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    node: Node
    by: str
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., by: _Optional[str] = ...) -> None: ...

class PruneRequest(_message.Message):
    __slots__ = ("kind", "filters", "unused_for_seconds", "everything", "snapshotter", "dry_run")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    UNUSED_FOR_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTTER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    kind: str
    filters: _containers.RepeatedScalarFieldContainer[str]
    unused_for_seconds: float
    everything: bool
    snapshotter: str
    dry_run: bool
    def __init__(self, kind: _Optional[str] = ..., filters: _Optional[_Iterable[str]] = ..., unused_for_seconds: _Optional[float] = ..., everything: _Optional[bool] = ..., snapshotter: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class UsageRequest(_message.Message):
    __slots__ = ("all_namespaces",)
    ALL_NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    all_namespaces: bool
    def __init__(self, all_namespaces: _Optional[bool] = ...) -> None: ...

class UsageResponse(_message.Message):
    __slots__ = ("shares", "blobs", "snapshots", "total")
    SHARES_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    shares: _containers.RepeatedCompositeFieldContainer[Share]
    blobs: int
    snapshots: int
    total: int
    def __init__(self, shares: _Optional[_Iterable[_Union[Share, _Mapping]]] = ..., blobs: _Optional[int] = ..., snapshots: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class Share(_message.Message):
    __slots__ = ("namespace", "owner", "name", "unique", "shared")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    owner: str
    name: str
    unique: int
    shared: int
    def __init__(self, namespace: _Optional[str] = ..., owner: _Optional[str] = ..., name: _Optional[str] = ..., unique: _Optional[int] = ..., shared: _Optional[int] = ...) -> None: ...
