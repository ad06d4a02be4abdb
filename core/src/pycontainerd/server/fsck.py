"""``containerd fsck``: checks, and with ``--repair`` mends, what a daemon that is not running has on disk."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import attrs

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.snapshots import Holding
from pycontainerd.metadata.check.check import Outcome, check, mend
from pycontainerd.metadata.check.findings import Finding
from pycontainerd.metadata.check.truths import Place, Site
from pycontainerd.metadata.connections import connect_reader

if TYPE_CHECKING:
    from pycontainerd.config import Settings

_SNAPSHOTTER = "io.containerd.snapshotter.v1"
_CLEAN, _FOUND, _FAILED = 0, 1, 2  # exit statuses


def main(argv: Sequence[str], config: str = "", root: str = "") -> int:
    """Run it; 0: nothing is wrong (any more), 1: something is, 2: it could not be done."""
    options = _parse(argv)
    from pycontainerd.config import ConfigError, load

    try:
        settings = load(config)
        site = _site(settings, os.path.abspath(root or settings.root))
        outcome = mend(site, _say, digests=options.digests) if options.repair else check(site, digests=options.digests)
    except ConfigError as exc:
        _say(str(exc))
        return _FAILED
    except (ContainerdError, OSError, sqlite3.Error) as exc:
        _say(str(exc))
        return _FAILED
    _print(outcome, options.json, repair=options.repair)
    return _FOUND if outcome.left else _CLEAN


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="containerd fsck",
        description="Compare the database, the content store, the trees of the snapshotters and the mounts."
        " The daemon must be stopped (containers go on running): what is compared must not change meanwhile.",
        epilog="Exit status 0: nothing is wrong (any more); 1: something is; 2: it could not be done.",
    )
    parser.add_argument(
        "--repair", action="store_true", help="remove what is of no use; interrupted, it can be run again"
    )
    parser.add_argument("--digests", action="store_true", help="read every blob (slow)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


def _say(message: str) -> None:
    print(f"containerd fsck: {message}", file=sys.stderr)


def _site(settings: Settings, root: str) -> Site:
    database = os.path.join(root, "io.containerd.metadata.v1.bolt", "metadata.db")
    installed = {entry.name: entry.module for entry in entry_points(group="pycontainerd.plugins")}
    names = {uri.removeprefix(f"{_SNAPSHOTTER}.") for uri in installed if uri.startswith(f"{_SNAPSHOTTER}.")}
    places = [_place(settings, root, name, installed) for name in sorted(names | _recorded(database))]
    return Site(database, os.path.join(root, "io.containerd.content.v1.content"), places)


def _place(settings: Settings, root: str, name: str, installed: dict[str, str]) -> Place:
    uri = f"{_SNAPSHOTTER}.{name}"
    own = settings.get("plugins", uri, "root_path", kind=str, default="")
    return Place(name, own or os.path.join(root, uri), _finder(installed.get(uri, "")))


def _finder(module: str) -> Callable[[str], Iterable[Holding]] | None:
    """The function ``holdings`` of a plugin module (`contracts.snapshots.Holding`), where it has one."""
    if not module:
        return None
    try:
        found: Callable[[str], Iterable[Holding]] | None = getattr(importlib.import_module(module), "holdings", None)
    except Exception as exc:  # a package that is broken must not keep the others from being checked
        _say(f"{module} cannot be imported, its trees are looked for in directories: {exc}")
        return None
    return found


def _recorded(database: str) -> set[str]:
    """The snapshotters that have records."""
    try:
        with closing(connect_reader(database)) as db:
            return {name for (name,) in db.execute("SELECT DISTINCT snapshotter FROM snapshot_records")}
    except sqlite3.Error:  # it is said when it is checked
        return set()


def _print(outcome: Outcome, as_json: bool, *, repair: bool) -> None:
    if as_json:
        body = {"found": _plain(outcome.found), "repaired": outcome.done, "left": _plain(outcome.left)}
        print(json.dumps(body, indent=2))
        return
    shown = outcome.left if repair else outcome.found
    for finding in shown:
        size = f" ({finding.bytes} bytes)" if finding.bytes else ""
        print(f"{finding.kind}: {finding.subject}{size}: {finding.reason}")
    total = sum(finding.bytes for finding in outcome.found)
    if repair:
        print(f"{len(outcome.found)} findings ({total} bytes), {outcome.done} steps done, {len(outcome.left)} left")
    elif outcome.found:
        mendable = sum(1 for finding in outcome.found if finding.step)
        print(f"{len(outcome.found)} findings ({total} bytes), of which --repair can mend {mendable}")
    else:
        print("nothing is wrong")


def _plain(findings: list[Finding]) -> list[dict[str, object]]:
    return [{**attrs.asdict(finding), "step": list(finding.step)} for finding in findings]
