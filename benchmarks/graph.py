"""The plugin graph at scale: resolving 10,000 synthetic plugins against 1,000. Linear means ten times as long at most.

Each resolution is a process of its own, as at the start of a daemon: the plugins are in no cache, memory is new, and the
cycle collector is off. The figures are medians. What is above ten is the processor's: a thousand plugins fit its second
cache, ten thousand do not. (That the order does not depend on the input's is a test, not a benchmark.)
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from pycontainerd.kernel import Registration
from pycontainerd.kernel.graph import resolve

SMALL, LARGE, RUNS = 1_000, 10_000, 11


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


SHAPES: Mapping[str, Callable[[int], list[Registration]]] = {"chain": chain, "layers": layers, "star": star}


def resolving(shape: str, size: int) -> float:
    """The processor's seconds for one resolution in a new process; what else runs here does not count."""
    command = [sys.executable, __file__, shape, str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def graph() -> None:
    """Print the times and their ratio for each shape."""
    for shape in SHAPES:
        turns = [(resolving(shape, SMALL), resolving(shape, LARGE)) for _ in range(RUNS)]
        small, large = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio = statistics.median(two / one for one, two in turns)
        print(
            f"{'plugin graph: ' + shape:34} {SMALL:,} in {small * 1000:5.2f} ms   {LARGE:,} in"
            f" {large * 1000:5.2f} ms   ratio {ratio:5.2f}   (goal: at most 10; {RUNS} runs)"
        )


def main(shape: str, size: str) -> None:
    """Resolve once and print the seconds."""
    gc.disable()
    plugins = SHAPES[shape](int(size))
    began = time.thread_time()
    resolve(plugins)
    print(time.thread_time() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
