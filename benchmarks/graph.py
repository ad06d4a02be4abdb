"""The plugin graph at scale: resolving 10,000 synthetic plugins against 1,000. Linear means ten times as long at most.

Each shape is resolved as the daemon does it: once, and without the cycle collector, which is off while it starts. The
figures are medians. Ten thousand plugins do not fit the caches that a thousand fit, so beside the ratio is that of only
reading them. (That the order does not depend on the input's is a test, not a benchmark.)
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
    return Registration(type=kind, id=f"p{number}", requires=requires, init=lambda _ctx: None)


def chain(size: int) -> list[Registration]:
    """Each requires the one before."""
    return [_plugin(n, *([f"t.v1.p{n - 1}"] if n else [])) for n in range(size)]


def layers(size: int) -> list[Registration]:
    """Ten types; each plugin requires the type below and three plugins of it by name."""
    width = size // 10
    return [
        _plugin(
            n,
            *([f"l{layer - 1}.v1", *(f"l{layer - 1}.v1.p{n * step % width}" for step in (1, 3, 7))] if layer else []),
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


def resolving(plugins: list[Registration]) -> float:
    """The processor's seconds for one resolution; what else runs here does not count."""
    began = time.thread_time()
    resolve(plugins)
    return time.thread_time() - began


def reading(plugins: list[Registration]) -> float:
    """The yardstick: look at each plugin and each of its requirements once, and do nothing with them."""
    began = time.thread_time()
    known = {plugin.uri: plugin for plugin in plugins}
    sum(name in known for plugin in plugins for name in plugin.requires)
    return time.thread_time() - began


def graph() -> None:
    """Print the times and their ratio for each shape."""
    gc.collect()
    gc.disable()
    try:
        for shape in SHAPES:
            taken = {
                (work, size): statistics.median(work(shape(size)) for _ in range(RUNS))
                for work in (resolving, reading)
                for size in (SMALL, LARGE)
            }
            small, large = taken[resolving, SMALL], taken[resolving, LARGE]
            print(
                f"{'plugin graph: ' + shape.__name__:34} {SMALL:,} in {small * 1000:5.2f} ms   {LARGE:,} in"
                f" {large * 1000:5.2f} ms   ratio {large / small:5.2f}   (goal: 10; only reading them:"
                f" {taken[reading, LARGE] / taken[reading, SMALL]:5.2f}; {RUNS} runs)"
            )
    finally:
        gc.enable()


if __name__ == "__main__":
    graph()
