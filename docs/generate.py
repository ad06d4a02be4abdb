"""Draws the generated parts of the documentation from the code. `make docs` runs it; a test fails when it is due.

The plugin graph is Mermaid text between markers, which GitHub and most Markdown viewers show as a picture. An arrow means
«needs», a dotted one «uses what there is»; what follows from other arrows is left out, and so is a plugin whose module is not there.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import tomli

from pycontainerd.kernel import Registration
from pycontainerd.kernel.discovery import GROUP
from pycontainerd.kernel.graph import resolve

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- graph: made by `make docs` -->"
END = "<!-- /graph -->"
FILES = ("README.md", "docs/architecture.md")

# From the outside in; the first prefix that fits decides.
LAYERS: Mapping[str, Sequence[str]] = {
    "Listeners": ("io.containerd.server.",),
    "Edge: gRPC and ttrpc services": ("io.containerd.grpc.", "io.containerd.ttrpc."),
    "Services": ("",),
    "Storage and events": (
        "io.containerd.content.",
        "io.containerd.event.",
        "io.containerd.metadata.",
        "io.containerd.snapshot-records.",
        "io.containerd.snapshotter.",
    ),
}


def registrations() -> dict[str, Registration]:
    """What the packages of this workspace register, by URI."""
    found = {}
    for project in sorted([ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]):
        points = tomli.loads(project.read_text(encoding="utf-8"))["project"].get("entry-points", {}).get(GROUP, {})
        for uri, value in points.items():
            module, _, attribute = value.partition(":")
            try:
                found[uri] = getattr(importlib.import_module(module), attribute)
            except ModuleNotFoundError as exc:
                print(f"{uri} is not drawn: {exc}", file=sys.stderr)
    return found


def layer(uri: str) -> str:
    """The name of the layer that a plugin is drawn in."""
    best = max((prefix, name) for name, prefixes in LAYERS.items() for prefix in prefixes if uri.startswith(prefix))
    return best[1]


def needs(known: Mapping[str, Registration]) -> dict[str, list[str]]:
    """For each plugin those it requires directly, without those that another of them requires anyway."""
    required = resolve([_without_wants(one) for one in known.values()])
    reach: dict[str, set[str]] = {}
    direct = {}
    for uri in required.order:
        before = required.before[uri]
        implied = set().union(*(reach[name] for name in before)) if before else set()
        direct[uri] = [name for name in before if name not in implied]
        reach[uri] = implied | set(before)
    return direct


def _without_wants(registration: Registration) -> Registration:
    return Registration(
        type=registration.type, id=registration.id, requires=registration.requires, init=registration.init
    )


def graph() -> str:
    """The plugin graph as a Mermaid block."""
    known = registrations()
    edges = needs(known)
    lines = ["```mermaid", "flowchart LR"]
    names = list(LAYERS)
    for number, name in enumerate(names):
        lines.append(f'  subgraph layer{number}["{name}"]')
        lines += [f'    {_key(uri)}["{_label(known[uri])}"]' for uri in sorted(known) if layer(uri) == name]
        lines.append("  end")
    lines.append("  layer0 --> layer1")
    for uri in sorted(edges):
        if layer(uri) != names[0]:
            lines += [
                f"  {_key(uri)} -.-> {_key(name)}" for name in sorted(known) if known[name].type in known[uri].wants
            ]
        lines += [f"  {_key(uri)} --> {_key(name)}" for name in edges[uri]]
    return "\n".join([*lines, "```"])


def _key(uri: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", uri.removeprefix("io.containerd."))


def _label(registration: Registration) -> str:
    kind = registration.type.removeprefix("io.containerd.").rpartition(".v")[0]
    return registration.id if kind in ("grpc", "service") else f"{kind}: {registration.id}"


def drawn(text: str) -> str:
    """``text`` with the graph between the markers drawn anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{graph()}\n{END}{tail}"


def main() -> None:
    """Write every file that has a generated part."""
    for name in FILES:
        path = ROOT / name
        path.write_text(drawn(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
