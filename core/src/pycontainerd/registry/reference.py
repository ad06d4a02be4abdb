"""References to images in registries: ``host[:port]/path[:tag][@digest]``. Pure.

As in containerd the host is never implied: short names are a client's business.
"""

from __future__ import annotations

import re

import attrs

from pycontainerd.contracts import digests
from pycontainerd.contracts.errors import InvalidArgument

MAX_REFERENCE = 1024
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::\d{1,5})?\Z")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")


@attrs.frozen
class Reference:
    """A parsed reference; at least one of ``tag`` and ``digest`` is not empty."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def locator(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def object(self) -> str:
        """What to ask a registry for: the digest where there is one, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.locator}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The parts of a reference.

    :raises InvalidArgument: it is not one, names no host, or neither tag nor digest.
    """
    if len(text) > MAX_REFERENCE:
        raise InvalidArgument(f"a reference of {len(text)} characters is too long, the limit is {MAX_REFERENCE}")
    name, at, digest = text.partition("@")
    host, slash, rest = name.partition("/")
    path, colon, tag = rest.partition(":")
    if not slash or not _HOST.match(host):
        raise InvalidArgument(
            f"{text!r} does not begin with a registry's host", hint="a full name is docker.io/library/alpine:latest"
        )
    if not _PATH.match(path):
        raise InvalidArgument(f"{text!r}: {path!r} is not a repository's name", hint="only lower case is allowed")
    if colon and not _TAG.match(tag):
        raise InvalidArgument(f"{text!r}: {tag!r} is not a tag")
    if at:
        digests.validate(digest)
    elif not tag:
        raise InvalidArgument(f"{text!r} has neither a tag nor a digest", hint=f"did you mean {text}:latest?")
    return Reference(host, path, tag, digest)
