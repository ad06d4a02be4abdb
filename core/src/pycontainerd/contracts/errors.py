"""The one error family. Edges map it to gRPC and ttrpc codes; nothing else crosses a service boundary."""

from __future__ import annotations

from collections.abc import Iterator

DISK_FULL = (
    "the disk is full: removing images, containers, snapshots and content still works; then free some disk space or"
    " run `ctr gc run`"
)
"""The hint of every error that comes of a full disk."""


class ContainerdError(Exception):
    """A failure that a caller is told about.

    ``message`` says what was tried, on what, and why it failed; ``hint``, when given, is the next step for a person.
    """

    code = "UNKNOWN"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Cancelled(ContainerdError):
    code = "CANCELLED"


class InvalidArgument(ContainerdError):
    code = "INVALID_ARGUMENT"


class DeadlineExceeded(ContainerdError):
    code = "DEADLINE_EXCEEDED"


class NotFound(ContainerdError):
    code = "NOT_FOUND"


class AlreadyExists(ContainerdError):
    code = "ALREADY_EXISTS"


class PermissionDenied(ContainerdError):
    code = "PERMISSION_DENIED"


class ResourceExhausted(ContainerdError):
    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(ContainerdError):
    code = "FAILED_PRECONDITION"


class Aborted(ContainerdError):
    code = "ABORTED"


class OutOfRange(ContainerdError):
    code = "OUT_OF_RANGE"


class NotImplemented(ContainerdError):  # noqa: A001 - the field's name for it
    code = "UNIMPLEMENTED"


class Internal(ContainerdError):
    code = "INTERNAL"


class Unavailable(ContainerdError):
    code = "UNAVAILABLE"


class DataLoss(ContainerdError):
    code = "DATA_LOSS"


class Unauthenticated(ContainerdError):
    code = "UNAUTHENTICATED"


def _family(cls: type[ContainerdError]) -> Iterator[type[ContainerdError]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from _family(sub)


BY_CODE: dict[str, type[ContainerdError]] = {cls.code: cls for cls in _family(ContainerdError)}
