"""Error family to RPC status codes and back: the one place. gRPC and ttrpc share the numbers (google.rpc.Code)."""

from __future__ import annotations

from pycontainerd.contracts.errors import BY_CODE, ContainerdError

NUMBERS: dict[str, int] = {
    "OK": 0,
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
_NAMES = {number: name for name, number in NUMBERS.items()}


def to_code(error: BaseException) -> int:
    """The status number of ``error``; UNKNOWN for what is not of the family."""
    return NUMBERS[error.code] if isinstance(error, ContainerdError) else NUMBERS["UNKNOWN"]


def from_code(code: int, message: str) -> ContainerdError:
    """The error of the family for a status that a peer answered (never OK)."""
    return BY_CODE.get(_NAMES.get(code, "UNKNOWN"), ContainerdError)(message)
