"""The messages of a shim: the task service, its events, and ttrpc itself. A test compares them with the .proto files."""

from __future__ import annotations

from .wire import BOOL, BYTES, NUMBER, TEXT, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EMPTY = Message("google.protobuf.Empty")
ANY = Message("google.protobuf.Any", type_url=(1, TEXT), value=(2, BYTES))
TIMESTAMP = Message("google.protobuf.Timestamp", seconds=(1, NUMBER), nanos=(2, NUMBER))

# -- ttrpc ----------------------------------------------------------------------------------------------------------

STATUS = Message("google.rpc.Status", code=(1, NUMBER), message=(2, TEXT))
KEY_VALUE = Message("ttrpc.KeyValue", key=(1, TEXT), value=(2, TEXT))
REQUEST = Message(
    "ttrpc.Request",
    service=(1, TEXT),
    method=(2, TEXT),
    payload=(3, BYTES),
    timeout_nano=(4, NUMBER),
    metadata=(5, [KEY_VALUE]),
)
RESPONSE = Message("ttrpc.Response", status=(1, STATUS), payload=(2, BYTES))

# -- containerd.task.v3.Task (and v2, the same under another name) --------------------------------------------------

MOUNT = Message("containerd.types.Mount", type=(1, TEXT), source=(2, TEXT), target=(3, TEXT), options=(4, [TEXT]))
PROCESS_INFO = Message("containerd.v1.types.ProcessInfo", pid=(1, NUMBER), info=(2, ANY))
PROCESS_DETAILS = Message("containerd.runc.v1.ProcessDetails", exec_id=(1, TEXT))

_TASK = "containerd.task.v3."
CREATE_REQUEST = Message(
    f"{_TASK}CreateTaskRequest",
    id=(1, TEXT),
    bundle=(2, TEXT),
    rootfs=(3, [MOUNT]),
    terminal=(4, BOOL),
    stdin=(5, TEXT),
    stdout=(6, TEXT),
    stderr=(7, TEXT),
    checkpoint=(8, TEXT),
    options=(10, ANY),
)
CREATE_RESPONSE = Message(f"{_TASK}CreateTaskResponse", pid=(1, NUMBER))
START_REQUEST = Message(f"{_TASK}StartRequest", id=(1, TEXT), exec_id=(2, TEXT))
START_RESPONSE = Message(f"{_TASK}StartResponse", pid=(1, NUMBER))
STATE_REQUEST = Message(f"{_TASK}StateRequest", id=(1, TEXT), exec_id=(2, TEXT))
STATE_RESPONSE = Message(
    f"{_TASK}StateResponse",
    id=(1, TEXT),
    bundle=(2, TEXT),
    pid=(3, NUMBER),
    status=(4, NUMBER),
    stdin=(5, TEXT),
    stdout=(6, TEXT),
    stderr=(7, TEXT),
    terminal=(8, BOOL),
    exit_status=(9, NUMBER),
    exited_at=(10, TIMESTAMP),
    exec_id=(11, TEXT),
)
WAIT_REQUEST = Message(f"{_TASK}WaitRequest", id=(1, TEXT), exec_id=(2, TEXT))
WAIT_RESPONSE = Message(f"{_TASK}WaitResponse", exit_status=(1, NUMBER), exited_at=(2, TIMESTAMP))
CONNECT_REQUEST = Message(f"{_TASK}ConnectRequest", id=(1, TEXT))
CONNECT_RESPONSE = Message(
    f"{_TASK}ConnectResponse", shim_pid=(1, NUMBER), task_pid=(2, NUMBER), version=(3, TEXT)
)  # fmt: skip
KILL_REQUEST = Message(f"{_TASK}KillRequest", id=(1, TEXT), exec_id=(2, TEXT), signal=(3, NUMBER), all=(4, BOOL))
DELETE_REQUEST = Message(f"{_TASK}DeleteRequest", id=(1, TEXT), exec_id=(2, TEXT))
DELETE_RESPONSE = Message(
    f"{_TASK}DeleteResponse", pid=(1, NUMBER), exit_status=(2, NUMBER), exited_at=(3, TIMESTAMP)
)  # fmt: skip
EXEC_REQUEST = Message(
    f"{_TASK}ExecProcessRequest",
    id=(1, TEXT),
    exec_id=(2, TEXT),
    terminal=(3, BOOL),
    stdin=(4, TEXT),
    stdout=(5, TEXT),
    stderr=(6, TEXT),
    spec=(7, ANY),
)
RESIZE_REQUEST = Message(
    f"{_TASK}ResizePtyRequest", id=(1, TEXT), exec_id=(2, TEXT), width=(3, NUMBER), height=(4, NUMBER)
)
CLOSE_IO_REQUEST = Message(f"{_TASK}CloseIORequest", id=(1, TEXT), exec_id=(2, TEXT), stdin=(3, BOOL))
PAUSE_REQUEST = Message(f"{_TASK}PauseRequest", id=(1, TEXT))
RESUME_REQUEST = Message(f"{_TASK}ResumeRequest", id=(1, TEXT))
PIDS_REQUEST = Message(f"{_TASK}PidsRequest", id=(1, TEXT))
PIDS_RESPONSE = Message(f"{_TASK}PidsResponse", processes=(1, [PROCESS_INFO]))
CHECKPOINT_REQUEST = Message(f"{_TASK}CheckpointTaskRequest", id=(1, TEXT), path=(2, TEXT), options=(3, ANY))
UPDATE_REQUEST = Message(f"{_TASK}UpdateTaskRequest", id=(1, TEXT), resources=(2, ANY))
STATS_REQUEST = Message(f"{_TASK}StatsRequest", id=(1, TEXT))
STATS_RESPONSE = Message(f"{_TASK}StatsResponse", stats=(1, ANY))
SHUTDOWN_REQUEST = Message(f"{_TASK}ShutdownRequest", id=(1, TEXT), now=(2, BOOL))

# -- events -------------------------------------------------------------------------------------------------------

ENVELOPE = Message(
    "containerd.types.Envelope", timestamp=(1, TIMESTAMP), namespace=(2, TEXT), topic=(3, TEXT), event=(4, ANY)
)
FORWARD_REQUEST = Message("containerd.services.events.ttrpc.v1.ForwardRequest", envelope=(1, ENVELOPE))

_EVENTS = "containerd.events."
TASK_IO = Message(f"{_EVENTS}TaskIO", stdin=(1, TEXT), stdout=(2, TEXT), stderr=(3, TEXT), terminal=(4, BOOL))
TASK_CREATE = Message(
    f"{_EVENTS}TaskCreate",
    container_id=(1, TEXT),
    bundle=(2, TEXT),
    rootfs=(3, [MOUNT]),
    io=(4, TASK_IO),
    checkpoint=(5, TEXT),
    pid=(6, NUMBER),
)
TASK_START = Message(f"{_EVENTS}TaskStart", container_id=(1, TEXT), pid=(2, NUMBER))
TASK_DELETE = Message(
    f"{_EVENTS}TaskDelete",
    container_id=(1, TEXT),
    pid=(2, NUMBER),
    exit_status=(3, NUMBER),
    exited_at=(4, TIMESTAMP),
    id=(5, TEXT),
)
TASK_EXIT = Message(
    f"{_EVENTS}TaskExit",
    container_id=(1, TEXT),
    id=(2, TEXT),
    pid=(3, NUMBER),
    exit_status=(4, NUMBER),
    exited_at=(5, TIMESTAMP),
)
TASK_OOM = Message(f"{_EVENTS}TaskOOM", container_id=(1, TEXT))
TASK_EXEC_ADDED = Message(f"{_EVENTS}TaskExecAdded", container_id=(1, TEXT), exec_id=(2, TEXT))
TASK_EXEC_STARTED = Message(f"{_EVENTS}TaskExecStarted", container_id=(1, TEXT), exec_id=(2, TEXT), pid=(3, NUMBER))
TASK_PAUSED = Message(f"{_EVENTS}TaskPaused", container_id=(1, TEXT))
TASK_RESUMED = Message(f"{_EVENTS}TaskResumed", container_id=(1, TEXT))

# -- options of runc ------------------------------------------------------------------------------------------------

RUNC_OPTIONS = Message(
    "containerd.runc.v1.Options",
    no_pivot_root=(1, BOOL),
    no_new_keyring=(2, BOOL),
    shim_cgroup=(3, TEXT),
    io_uid=(4, NUMBER),
    io_gid=(5, NUMBER),
    binary_name=(6, TEXT),
    root=(7, TEXT),
    systemd_cgroup=(9, BOOL),
)
GENERIC_OPTIONS = Message(
    "runtimeoptions.v1.Options", type_url=(1, TEXT), config_path=(2, TEXT), config_body=(3, BYTES)
)  # fmt: skip

# -- the executable ---------------------------------------------------------------------------------------------------

BOOTSTRAP_PARAMS = Message(
    "containerd.runtime.bootstrap.v1.BootstrapParams",
    instance_id=(1, TEXT),
    containerd_ttrpc_address=(5, TEXT),
    socket_dir=(9, TEXT),
)
BOOTSTRAP_RESULT = Message(
    "containerd.runtime.bootstrap.v1.BootstrapResult", version=(1, NUMBER), address=(2, TEXT), protocol=(3, TEXT)
)
_RUNTIME_VERSION = Message("containerd.types.RuntimeVersion", version=(1, TEXT))
RUNTIME_INFO = Message("containerd.types.RuntimeInfo", name=(1, TEXT), version=(2, _RUNTIME_VERSION))


def stamp(nanoseconds: int) -> dict[str, Any]:
    """A time since 1970 on the wire."""
    return {"seconds": nanoseconds // 1_000_000_000, "nanos": nanoseconds % 1_000_000_000}


def pack(message: Message, values: dict[str, Any]) -> dict[str, Any]:
    """An Any, with the type URL as containerd writes it: the bare name."""
    return {"type_url": message.name, "value": message.encode(values)}
