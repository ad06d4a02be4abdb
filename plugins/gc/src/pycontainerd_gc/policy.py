"""Rules by which unused images go without being asked for. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.gc import Entry, Node

from .config import Config, Policy
from .mark import Marking
from .prune import PINNED, Facts, last_use, match_field, repository, total_bytes, unused_images

Sizes = Callable[[Iterable[Node]], Mapping[Node, int]]


def is_pinned(config: Config, entry: Entry) -> bool:
    """Whether the image ``entry`` is to be kept: its label says so, or a pattern of the config."""
    name = entry.node.key
    return entry.labels.get(PINNED) == "pinned" or any(fnmatchcase(name, pattern) for pattern in config.pinned)


def choose(marking: Marking, config: Config, facts: Facts, sizes: Sizes) -> Mapping[Node, str]:
    """The images that the rules remove now, each with why. ``sizes`` is asked only where a rule limits bytes."""
    chosen: dict[Node, str] = {}
    for number, rule in enumerate(config.policy, 1):
        for node, reason in _by_rule(marking, rule, facts, sizes, chosen).items():
            chosen.setdefault(node, f"policy {number}: {reason}")
    return chosen


def _by_rule(
    marking: Marking, rule: Policy, facts: Facts, sizes: Sizes, before: Mapping[Node, str]
) -> Mapping[Node, str]:
    entries = [one for one in marking.entries.values() if not rule.namespaces or one.node.namespace in rule.namespaces]
    wanted = parse(rule.filters)
    matching = [one for one in unused_images(marking, entries, facts) if wanted.match(match_field(one))]
    free = _beyond_newest(entries, matching, rule.keep_last_n_tags)
    free.sort(key=lambda entry: last_use(entry, facts.used_at))  # the longest unused goes first
    if not rule.max_unused and not rule.max_bytes:
        return {one.node: f"not among the last {rule.keep_last_n_tags} of its repository" for one in free}
    found = {}
    if rule.max_unused:
        for one in free:
            if marking.now - last_use(one, facts.used_at) >= rule.unused_seconds:
                found[one.node] = f"unused for {rule.max_unused}"
    if rule.max_bytes:
        nodes = [one.node for one in entries]
        left = [one.node for one in free if one.node not in found]
        for node in _over(marking, rule.most_bytes, nodes, left, {**before, **found}, sizes(nodes)):
            found[node] = f"more than {rule.max_bytes} on disk"
    return found


def _beyond_newest(entries: Sequence[Entry], images: Sequence[Entry], count: int) -> list[Entry]:
    """Those of ``images`` that are not among the ``count`` newest of their repository, used ones counted too."""
    if count <= 0:
        return list(images)
    by_repository: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.node.kind == "images":
            by_repository[entry.node.namespace, repository(entry.node.key)].append(entry)
    kept: set[Node] = set()
    for group in by_repository.values():
        group.sort(key=lambda entry: entry.created, reverse=True)
        kept.update(entry.node for entry in group[:count])
    return [entry for entry in images if entry.node not in kept]


def _over(
    marking: Marking,
    limit: int,
    nodes: Sequence[Node],
    images: Sequence[Node],
    before: Mapping[Node, str],
    sizes: Mapping[Node, int],
) -> Sequence[Node]:
    """The fewest of ``images``, from the first on, without which at most ``limit`` bytes are kept; all, if that fails."""

    def kept_without(count: int) -> int:
        rest = Marking(marking.entries.values(), marking.now, without={*before, *images[:count]})
        return total_bytes(rest, sizes, nodes)

    low, high = 0, len(images)
    while low < high:
        middle = (low + high) // 2
        if kept_without(middle) <= limit:
            high = middle
        else:
            low = middle + 1
    return images[:low]
