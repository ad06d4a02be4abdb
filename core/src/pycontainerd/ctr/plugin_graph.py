"""The plugin graph of a server as Graphviz text, coloured by state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from pycontainerd.client.introspection import Plugin

_COLOURS = {
    "ok": "palegreen",
    "disabled": "lightgrey",
    "not-installed": "white",
    "skipped": "lightblue",
    "skip": "lightblue",
    "blocked": "orange",
    "failed": "tomato",
    "error": "tomato",
}


def dot(plugins: Mapping[str, Plugin]) -> str:
    """``plugins`` by URI as a graph: a solid arrow to what one requires, a dotted one to what it uses if it is there.

    The way from a blocked plugin to its cause is red.
    """
    lines = ["digraph plugins {", "  rankdir=LR;", '  node [shape=box, style="filled,rounded", fontname="sans-serif"];']
    of_type = _by_type(plugins)
    missing: dict[str, None] = {}
    edges = []
    for uri, item in plugins.items():
        colour = _COLOURS.get(item.state, "white")
        text = f"{item.type.removeprefix('io.containerd.')}\n{item.id}\n{item.state}"
        lines.append(f"  {_quoted(uri)} [label={_quoted(text)}, fillcolor={colour}, tooltip={_quoted(_tip(item))}];")
        for name in item.requires:
            ends = _ends(name, plugins, of_type)
            missing.update(dict.fromkeys(() if ends else (name,)))
            for end in ends or [name]:
                red = " [color=red, penwidth=2]" if end == item.blocked_by else ""
                edges.append(f"  {_quoted(uri)} -> {_quoted(end)}{red};")
        for name in item.wants:
            edges += [f"  {_quoted(uri)} -> {_quoted(end)} [style=dotted];" for end in _ends(name, plugins, of_type)]
    lines += [f'  {_quoted(name)} [style=dashed, color=red, tooltip="nothing of this name"];' for name in missing]
    return "\n".join([*lines, *dict.fromkeys(edges), "}"])


def below(uri: str, plugins: Mapping[str, Plugin]) -> dict[str, Plugin]:
    """The plugin ``uri`` and all that it requires, over however many steps."""
    of_type = _by_type(plugins)
    found = {uri: plugins[uri]}
    waiting = [uri]
    while waiting:
        for name in plugins[waiting.pop()].requires:
            for end in _ends(name, plugins, of_type):
                if end not in found:
                    found[end] = plugins[end]
                    waiting.append(end)
    return found


def _by_type(plugins: Mapping[str, Plugin]) -> Mapping[str, list[str]]:
    of_type: dict[str, list[str]] = defaultdict(list)
    for uri, item in plugins.items():
        of_type[item.type].append(uri)
    return of_type


def _ends(name: str, plugins: Mapping[str, Plugin], of_type: Mapping[str, list[str]]) -> list[str]:
    """The plugins that a requirement, a type or a URI, leads to. ``*`` is the Go containerd's name for all."""
    if name == "*":
        return []
    return [name] if name in plugins else list(of_type.get(name, ()))


def _tip(item: Plugin) -> str:
    return "\n".join(_facts(item))


def _facts(item: Plugin) -> Iterator[str]:
    yield item.sentence or item.uri
    if item.distribution:
        yield f"{item.distribution} {item.version}".strip()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
