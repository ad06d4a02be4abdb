"""What may be done to a process in which state. Pure: no I/O.

    created -> running <-> paused          any of them -> stopped -> deleted

A created process may be deleted without having been started, and can end before that too. A deleted one is seen only by
a caller that was waiting while another deleted it.
"""

from __future__ import annotations

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, NotFound

CREATED, RUNNING, PAUSED, STOPPED, DELETED = "created", "running", "paused", "stopped", "deleted"

# The numbers of containerd.v1.types.Status.
STATUS = {CREATED: 1, RUNNING: 2, STOPPED: 3, PAUSED: 4, DELETED: 3}
PAUSING_STATUS = 5

_ALLOWED = {
    "start": (CREATED,),
    "pause": (RUNNING,),
    "resume": (PAUSED,),
    "exec in": (CREATED, RUNNING),
    "kill": (CREATED, RUNNING, PAUSED),
    "update": (CREATED, RUNNING, PAUSED),
    "resize": (CREATED, RUNNING, PAUSED, STOPPED),
    "delete": (CREATED, STOPPED),
}


def check(verb: str, state: str, what: str) -> None:
    """Refuse ``verb`` where ``state`` does not allow it; ``what`` names the process.

    :raises NotFound: it is deleted, or a signal comes after its end.
    :raises FailedPrecondition: it is in another wrong state.
    """
    if state in _ALLOWED[verb]:
        return
    kind: type[ContainerdError] = FailedPrecondition
    if state == DELETED or (verb == "kill" and state == STOPPED):
        kind = NotFound
    raise kind(f"cannot {verb} {what}: it is {state}")
