"""Snapshots whose owners are mapped, for containers in user namespaces: the labels that ask for it."""

from __future__ import annotations

from collections.abc import Mapping

from pycontainerd.sys import idmap

UIDS, GIDS = "containerd.io/snapshot/uidmapping", "containerd.io/snapshot/gidmapping"


def mapping(labels: Mapping[str, str]) -> idmap.IdMap | None:
    """What the labels ask for; None when they do not.

    :raises InvalidArgument: it is malformed, or maps nobody to root.
    """
    if UIDS not in labels and GIDS not in labels:
        return None
    found = idmap.parse(labels.get(UIDS, ""), labels.get(GIDS, ""))
    found.root()
    return found


def options(labels: Mapping[str, str]) -> list[str]:
    """The mount options for what the labels ask for."""
    pairs = (("uidmap", UIDS), ("gidmap", GIDS))
    return [f"{option}={labels[label]}" for option, label in pairs if label in labels]
