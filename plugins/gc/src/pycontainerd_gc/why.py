"""Why something is kept: the shortest way to it from a root. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.gc import SNAPSHOTS, Node, Step

from .mark import Marking


def find(marking: Marking, namespace: str, key: str) -> Node:
    """The node of ``namespace`` that ``key`` means: ``KIND/KEY``, or a KEY alone; a digest may be cut short.

    :raises NotFound: nothing is called that.
    """
    names = [node for node in marking.entries if node.namespace == namespace]
    for matches in (
        lambda node: f"{node.kind}/{node.key}" == key,
        lambda node: node.key == key,
        lambda node: len(key) >= 4 and node.key.partition(":")[2].startswith(key.removeprefix("sha256:")),
    ):
        found = [node for node in names if matches(node)]
        if found:
            # Of several, the one that is kept for another's sake: a container is often called as its snapshot.
            return min(found, key=lambda node: (not node.kind.startswith(SNAPSHOTS), node))
    raise NotFound(
        f"nothing in namespace {namespace} is called {key[:200]!r}",
        hint="a digest, the name of an image, or KIND/KEY, such as snapshots/overlayfs/my-snapshot",
    )


def path(marking: Marking, wanted: Node) -> Sequence[Step]:
    """The shortest way from a root to ``wanted``, the root first; empty where nothing keeps it."""
    if not marking.live(wanted):
        return ()
    came: dict[tuple[Node, bool], tuple[tuple[Node, bool] | None, str]] = {}
    queue: deque[tuple[Node, bool]] = deque()

    def reach(state: tuple[Node, bool], origin: tuple[Node, bool] | None, by: str) -> None:
        if state not in came:
            came[state] = (origin, by)
            queue.append(state)

    for root, reason in marking.roots.items():
        reach((root, True), None, reason)
    while queue:
        state = queue.popleft()
        node, deep = state
        if node == wanted:
            return _back(came, state)
        for by, target in marking.edges(node) if deep else marking.flat_edges(node):
            reach((target, deep), state, by)
        if deep:
            for target, follow in marking.held_flat(node):
                reach((target, follow), state, "the lease, which is flat")
    return ()


def _back(came: dict[tuple[Node, bool], tuple[tuple[Node, bool] | None, str]], end: tuple[Node, bool]) -> list[Step]:
    steps = []
    state: tuple[Node, bool] | None = end
    while state is not None:
        origin, by = came[state]
        steps.append(Step(state[0], by))
        state = origin
    return steps[::-1]
