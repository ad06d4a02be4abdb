"""Draws the generated parts of the documentation from the code. `make docs` runs it; a test fails when it is due.

The plugin graph is Mermaid text between markers, which GitHub and most Markdown viewers show as a picture. An arrow means
«needs», a dotted one «uses what there is»; what follows from other arrows is left out, and so is a plugin whose module is not there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tomli

from pycontainerd.contracts import hooks
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
        before = required.before(uri)
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


_HOOKS_HEAD = """\
# Hooks

<!-- made by `make docs` from core/src/pycontainerd/contracts/hooks.py -->

"""
_HOOKS_EXAMPLE = """
```python
from pycontainerd.contracts.hooks import hook
from pycontainerd.kernel import Registration


class Hooks:
    @hook
    def edit_oci_spec(self, id, spec):
        spec["process"]["env"].append(f"CONTAINER_ID={id}")


registration = Registration(type="io.containerd.hook.v1", id="my-hook", init=lambda ctx: Hooks())
```
```toml
[project.entry-points."pycontainerd.plugins"]
"io.containerd.hook.v1.my-hook" = "my_package:registration"
```

`ctr plugins new hook NAME` and `ctr plugins new verifier NAME` write such a package with its tests. An implementation marked
with `@hook(first=True)` comes before the others, one with `@hook(last=True)` after them; else they are called in the order of
their plugins' names. A name that is no hook, and an argument that the hook does not have, are errors where the module is
imported, so the plugin's row in the report says so.
"""


def hook_reference() -> str:
    """docs/hooks.md: what the specs say of themselves."""
    intro = (inspect.getdoc(hooks) or "").replace("`Hooks.verify_image`", "`verify_image`")
    parts = [_HOOKS_HEAD + intro + "\n" + _HOOKS_EXAMPLE]
    for name in hooks.names():
        spec = getattr(hooks.Hooks, name)
        signature = inspect.signature(spec)
        shown = signature.replace(parameters=[one for one in signature.parameters.values() if one.name != "self"])
        parts.append(f"\n## {name}\n\n```python\n{name}{_bare(str(shown))}\n```\n\n{inspect.getdoc(spec)}\n")
    records = (hooks.Candidate, hooks.Judgement, hooks.Repository, hooks.ConfigDocument)
    parts += [f"\n## {one.__name__}\n\n{inspect.getdoc(one)}\n\n{_members(one)}" for one in records]
    return re.sub("(?<!`)``(?!`)", "`", "".join(parts))  # what a docstring writes with two, Markdown writes with one


def _bare(signature: str) -> str:
    """A signature whose annotations, texts all of them, have no quotes."""
    return signature.replace("'", "")


def _members(record: type) -> str:
    fields = getattr(record, "__annotations__", {})
    lines = [
        f"- `{name}: {kind if isinstance(kind, str) else getattr(kind, '__forward_arg__', kind)}`"
        for name, kind in fields.items()
    ]
    for name, member in vars(record).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            signature = inspect.signature(member)
            shown = signature.replace(parameters=[one for one in signature.parameters.values() if one.name != "self"])
            lines.append(f"- `{name}{_bare(str(shown))}`: {inspect.getdoc(member)}")
    return "\n".join(lines) + "\n"


_TESTING_HEAD = """\
# Testing a plugin

<!-- made by `make docs` from core/src/pycontainerd/testing -->

`pip install pycontainerd[testing]` brings pytest, the fixtures below (pytest finds them by itself) and a suite of tests for each contract.
`ctr plugins new` writes a package whose tests use them; [the tutorial](tutorial.md) runs one. Mounts and containers are real, so
most of it needs root. What a test needs and the machine lacks skips the test, and fails it where `CI` is set.
"""


def testing_reference() -> str:
    """docs/testing.md: the suites and the fixtures, as they describe themselves."""
    suites = ("snapshotters", "content_stores", "differs", "runtimes")
    modules = [importlib.import_module(f"pycontainerd.testing.{name}") for name in suites]
    parts = [_TESTING_HEAD]
    for module in modules:
        (suite,) = [
            name for name, one in vars(module).items() if name.endswith("Suite") and one.__module__ == module.__name__
        ]
        head, _, code = (inspect.getdoc(module) or "").partition("::\n\n")
        options = re.sub(r"\AThe whole suite\.\s*", "", inspect.getdoc(getattr(module, suite)) or "")
        parts.append(
            f"\n## {suite}\n\n{head}:\n\n```python\n{textwrap.dedent(code).strip()}\n```\n\n{options}\n".replace(
                "\n\n\n", "\n"
            )
        )
    parts.append("\n## Fixtures\n\n| | lives for | |\n| --- | --- | --- |\n")
    parts += [f"| `{name}` | a {scope} | {text} |\n" for name, scope, text in _fixtures()]
    return re.sub("(?<!`)``(?!`)", "`", "".join(parts))


def _fixtures() -> list[tuple[str, str, str]]:
    """Name, scope and first sentence of each fixture in the pytest plugin."""
    tree = ast.parse((ROOT / "core/src/pycontainerd/testing/plugin.py").read_text(encoding="utf-8"))
    found = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or not node.decorator_list:
            continue
        scope = re.search(r"scope='(\w+)'", ast.unparse(node.decorator_list[0]))
        text = " ".join((ast.get_docstring(node) or "").split())
        found.append((node.name, scope[1] if scope else "test", text))
    return found


# Files that are made as a whole.
WHOLE: Mapping[str, Callable[[], str]] = {"docs/hooks.md": hook_reference, "docs/testing.md": testing_reference}


def main() -> None:
    """Write every file that is generated, or has a generated part."""
    for name in FILES:
        path = ROOT / name
        path.write_text(drawn(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name, make in WHOLE.items():
        (ROOT / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
