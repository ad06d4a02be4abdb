"""The plugin graph at scale: resolving 10,000 synthetic plugins against 1,000. Linear means ten times as long at most.

Each set of plugins is resolved as a daemon does it: once, not in any cache yet, in the order of their names, which is that
of discovery, and without the cycle collector, which is off while it starts. So a turn makes ten sets of a thousand and one of ten thousand, and then resolves each. The figures are
medians. (That the order does not depend on the input's is a test, not a benchmark.)
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence

from pycontainerd.kernel import Registration
from pycontainerd.kernel.graph import resolve

SMALL, LARGE, RUNS = 1_000, 10_000, 25


def _plugin(number: int, *requires: str, kind: str = "t.v1") -> Registration:
    return Registration(type=kind, id=f"p{number:05}", requires=requires, init=lambda _ctx: None)


def chain(size: int) -> list[Registration]:
    """Each requires the one before."""
    return [_plugin(n, *([f"t.v1.p{n - 1:05}"] if n else [])) for n in range(size)]


def layers(size: int) -> list[Registration]:
    """Ten types; each plugin requires the type below and three plugins of it by name."""
    width = size // 10
    return [
        _plugin(
            n,
            *(
                [f"l{layer - 1}.v1", *(f"l{layer - 1}.v1.p{n * step % width:05}" for step in (1, 3, 7))]
                if layer
                else []
            ),
            kind=f"l{layer}.v1",
        )
        for layer in range(10)
        for n in range(width)
    ]


def star(size: int) -> list[Registration]:
    """One half requires the type of the other half."""
    half = size // 2
    return [_plugin(n, kind="s.v1") for n in range(half)] + [_plugin(n, "s.v1") for n in range(half)]


SHAPES: Sequence[Callable[[int], list[Registration]]] = (chain, layers, star)


def resolving(sets: Sequence[list[Registration]], kept: list[object]) -> float:
    """The processor's seconds to resolve each of the sets; what else runs here does not count."""
    began = time.thread_time()
    kept.extend(map(resolve, sets))
    return time.thread_time() - began


def turn(shape: Callable[[int], list[Registration]], kept: list[object]) -> tuple[float, float]:
    """The seconds for one of the small sets, and for the large one.

    ``kept`` holds the last turn's graphs until this turn's plugins are made: else the allocator gives memory back to the
    system in between, and a large set would pay for getting it again.
    """
    many = [sorted(shape(SMALL), key=lambda plugin: plugin.uri) for _ in range(LARGE // SMALL)]
    one = [sorted(shape(LARGE), key=lambda plugin: plugin.uri)]
    kept.clear()
    return resolving(many, kept) / len(many), resolving(one, kept)


def graph() -> None:
    """Print the times and their ratio for each shape."""
    gc.collect()
    gc.disable()
    try:
        for shape in SHAPES:
            kept: list[object] = []
            turns = [turn(shape, kept) for _ in range(RUNS + 1)][1:]
            small, large = (statistics.median(column) for column in zip(*turns, strict=True))
            ratio = statistics.median(two / one for one, two in turns)
            print(
                f"{'plugin graph: ' + shape.__name__:34} {SMALL:,} in {small * 1000:5.2f} ms   {LARGE:,} in"
                f" {large * 1000:5.2f} ms   ratio {ratio:5.2f}   (goal: at most 10; {RUNS} runs)"
            )
    finally:
        gc.enable()


if __name__ == "__main__":
    graph()
