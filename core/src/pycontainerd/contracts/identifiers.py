"""Names of namespaces, containers, leases and processes."""

from __future__ import annotations

from .errors import InvalidArgument

MAX_IDENTIFIER = 76


def validate_identifier(value: str, what: str = "identifier") -> str:
    """``value`` if it is a legal id for namespaces, containers and leases (containerd docs/namespaces.md).

    :raises InvalidArgument: it is empty, longer than 76 characters, or has characters other than ``A-Za-z0-9._-``.
    """
    if not value:
        raise InvalidArgument(f"{what} must not be empty")
    if len(value) > MAX_IDENTIFIER:
        raise InvalidArgument(f"{what} {value[:20]!r}… is {len(value)} characters long, the limit is {MAX_IDENTIFIER}")
    for word in value.replace("-", ".").replace("_", ".").split("."):
        if not (word.isascii() and word.isalnum()):
            raise InvalidArgument(
                f"{what} {value!r} is not valid", hint="use letters and digits, joined by single '-', '_' or '.'"
            )
    return value
