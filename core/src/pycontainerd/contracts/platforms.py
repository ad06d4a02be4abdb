"""Platforms: their spelling, and which ones run on which machine. Pure but for looking at the machine.

Spelling and order of preference are those of containerd's tools: ``linux/arm/v7`` runs ``linux/arm/v6``, an ``amd64``
machine runs ``386``, an ``arm64`` machine runs 32-bit ``arm``.
"""

from __future__ import annotations

import functools
import platform as _machine
import re
import sys
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote

import attrs

from .errors import InvalidArgument
from .types import Platform

_OS = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?\Z")
_PART = re.compile(r"[A-Za-z0-9_.-]+\Z")
_KNOWN_OS = frozenset(
    [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "windows",
        "zos",
    ]
)
_KNOWN_ARCHITECTURES = frozenset(
    [
        "386",
        "amd64",
        "arm",
        "armbe",
        "arm64",
        "arm64be",
        "loong64",
        "mips",
        "mipsle",
        "mips64",
        "mips64le",
        "ppc",
        "ppc64",
        "ppc64le",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    ]
)
_OS_NAMES = {"macos": "darwin", "win32": "windows", "cygwin": "windows"}
_ARCHITECTURES = {
    "i386": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "loongarch64": ("loong64", None),
}
_MINOR_OF_V9 = 5  # Armv9.N implies Armv8.(N+5)
_NEWEST_V8 = 9


def _architecture(name: str, variant: str) -> tuple[str, str]:
    name, variant = name.lower(), variant.lower()
    canonical, fixed = _ARCHITECTURES.get(name, (name, None))
    variant = variant if fixed is None else fixed
    if variant[:1].isdigit():
        variant = f"v{variant}"
    variant = variant.removesuffix(".0")
    if (canonical == "arm64" and variant == "v8") or (canonical == "amd64" and variant == "v1"):
        variant = ""
    elif canonical == "arm" and not variant:
        variant = "v7"
    return canonical, variant


@functools.cache
def default_platform() -> Platform:
    """The platform of this machine."""
    system = sys.platform.rstrip("0123456789")
    name, machine = _OS_NAMES.get(sys.platform, system), _machine.machine().lower()
    if found := re.match(r"arm(v[5-8])", machine):
        return Platform(name, "arm", found[1])
    architecture, variant = _architecture(machine, "")
    return Platform(name, architecture, "v8" if architecture == "arm64" else variant)


def normalize(platform: Platform) -> Platform:
    """The one spelling that platforms are compared in; what is missing of the OS is this machine's."""
    system = platform.os.lower()
    architecture, variant = _architecture(platform.architecture, platform.variant)
    return Platform(
        os=_OS_NAMES.get(system, system) or default_platform().os,
        architecture=architecture,
        variant=variant,
        os_version=platform.os_version,
        os_features=tuple(sorted(set(platform.os_features))),
    )


def parse(specifier: str) -> Platform:
    """``OS[(VERSION+FEATURE…)]``, ``ARCH`` or ``OS/ARCH[/VARIANT]``; a missing part is this machine's.

    :raises InvalidArgument: it is not of that form, or a lone part is neither a known OS nor architecture.
    """
    first, *rest = specifier.split("/", 3)
    found = _OS.match(first)
    if not found or len(rest) > 2 or not all(_PART.match(part) for part in rest):
        raise InvalidArgument(f"{specifier!r} is not a platform", hint="expected OS, ARCH or OS/ARCH[/VARIANT]")
    system = _OS_NAMES.get(found[1].lower(), found[1].lower())
    version = unquote(found[2] or "")
    features = tuple(unquote(part) for part in (found[3] or "").split("+") if part)
    here = default_platform()
    if rest:
        architecture, variant = _architecture(rest[0], rest[1] if len(rest) > 1 else "")
        if len(rest) == 1 and (architecture, variant) == ("arm", "v7"):
            variant = ""
        elif len(rest) > 1 and architecture == "arm64" and not variant:
            variant = "v8"
        return Platform(system, architecture, variant, version, features)
    if system in _KNOWN_OS:
        variant = here.variant if here.architecture == "arm" and here.variant != "v7" else ""
        return Platform(system, here.architecture, variant, version, features)
    architecture, variant = _architecture(first, "")
    if architecture not in _KNOWN_ARCHITECTURES:
        raise InvalidArgument(f"{specifier!r} is neither a known operating system nor a known architecture")
    return Platform(here.os, architecture, "" if (architecture, variant) == ("arm", "v7") else variant)


def format(platform: Platform, *, full: bool = False) -> str:  # noqa: A001 - read as platforms.format
    """``OS/ARCH[/VARIANT]``; with ``full`` also version and features of the OS; ``unknown`` where no OS is given."""
    if not platform.os:
        return "unknown"
    system = platform.os
    if full and (platform.os_version or platform.os_features):
        features = "".join(f"+{quote(feature, safe='')}" for feature in platform.os_features)
        system += f"({quote(platform.os_version, safe='')}{features})"
    return "/".join(part for part in (system, platform.architecture, platform.variant) if part)


def _variants(architecture: str, variant: str) -> Iterator[tuple[str, str]]:
    """What a machine of that architecture runs, its own first."""
    number = variant.removeprefix("v")
    if architecture == "arm64":
        yield from _arm64_variants(number or "8")
        return
    yield architecture, variant
    if architecture == "amd64":
        yield from (("amd64", f"v{older}" if older > 1 else "") for older in _below(number, 1))
        yield "386", ""
    elif architecture == "arm":
        yield from (("arm", f"v{older}") for older in _below(number, 5))


def _below(number: str, lowest: int) -> range:
    return range(int(number) - 1, lowest - 1, -1) if number.isdecimal() else range(0)


def _arm64_variants(number: str) -> Iterator[tuple[str, str]]:
    major, _, minor = number.partition(".")
    if major not in ("8", "9") or not (minor or "0").isdecimal():
        yield "arm64", f"v{number}"
        return
    newest = int(minor or 0)
    if major == "9":
        yield from (("arm64", f"v9.{older}" if older else "v9") for older in range(newest, -1, -1))
        newest = min(newest + _MINOR_OF_V9, _NEWEST_V8)
    yield from (("arm64", f"v8.{older}" if older else "") for older in range(newest, -1, -1))
    yield from (("arm", f"v{older}") for older in range(8, 4, -1))


def match_order(platform: Platform) -> list[Platform]:
    """The platforms whose images run on ``platform``, the best first, normalized."""
    base = normalize(platform)
    return [
        attrs.evolve(base, architecture=architecture, variant=variant)
        for architecture, variant in _variants(base.architecture, base.variant)
    ]


def _matches(wanted: Platform, candidate: Platform) -> bool:
    """Both normalized. A Windows image runs on its own build of Windows only."""
    if (wanted.os, wanted.architecture, wanted.variant) != (candidate.os, candidate.architecture, candidate.variant):
        return False
    if wanted.os == "windows":
        build, other = wanted.os_version.split(".")[:3], candidate.os_version.split(".")[:3]
        return build == other or not wanted.os_version or not candidate.os_version
    return set(candidate.os_features) <= set(wanted.os_features)


@attrs.frozen
class Matcher:
    """Matches what runs on any of ``platforms``."""

    order: Sequence[Platform]

    @classmethod
    def running_on(cls, platform: Platform | None = None) -> Matcher:
        """What runs on ``platform`` (default: this machine)."""
        return cls(match_order(platform or default_platform()))

    @classmethod
    def exactly(cls, *platforms: Platform) -> Matcher:
        """Just these, in order of preference."""
        return cls([normalize(platform) for platform in platforms])

    def rank(self, candidate: Platform) -> int | None:
        """How good ``candidate`` is (0 is the best), None when it does not match."""
        normal = normalize(candidate)
        return next((index for index, wanted in enumerate(self.order) if _matches(wanted, normal)), None)

    def match(self, candidates: Sequence[Platform]) -> int | None:
        """The index of the best of ``candidates``: of equals the one that uses more features, then the first."""
        ranks = [(self.rank(candidate), -len(candidate.os_features), i) for i, candidate in enumerate(candidates)]
        found = [(rank, features, index) for rank, features, index in ranks if rank is not None]
        return min(found)[2] if found else None
