"""Writes docs/reference from the code: plugin types, contracts, config keys. `make docs` runs it; a test fails when it is due."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from generate import ROOT, registrations

from pycontainerd import contracts
from pycontainerd.config.keys import Main
from pycontainerd.config.schema import of_class
from pycontainerd.kernel.firstparty import PACKAGES
from pycontainerd.kernel.registration import DEADLINE, Registration, split_uri

HEAD = "<!-- made by `make docs`; edit the code -->\n"

# What a type is for, and what its plugins give: a contract, or a class where only the daemon itself uses it.
TYPES: Mapping[str, tuple[str, str]] = {
    "io.containerd.config-migration.v1": ("Edits of config files as they are read.", "hooks"),
    "io.containerd.content.v1": ("Blobs by digest, of one machine, without namespaces.", "content.ContentStore"),
    "io.containerd.cri.v1": ("Configuration of CRI: images and runtimes.", ""),
    "io.containerd.ctr.v1": ("Commands of `ctr`.", "hooks"),
    "io.containerd.differ.v1": ("Layers into directories, and back.", "diff.Differ"),
    "io.containerd.event.v1": ("Events, within the daemon and from shims.", "events.EventBus"),
    "io.containerd.gc-inventory.v1": ("What there is to collect, and how it is removed.", "gc.Inventory"),
    "io.containerd.gc.v1": ("When to collect, and what.", "gc.GarbageCollector"),
    "io.containerd.grpc.v1": (
        "A service of the gRPC API. The listener serves every one that is up.",
        "service.RpcService",
    ),
    "io.containerd.hook.v1": ("Told or asked at fixed places; see [hooks](../hooks.md).", "hooks"),
    "io.containerd.image-verifier.v1": ("Says whether an image may be used; see [hooks](../hooks.md).", "hooks"),
    "io.containerd.lease.v1": ("Leases, which hold what is in flight.", "leases.LeaseManager"),
    "io.containerd.metadata.v1": ("The database of all namespaces.", "database.Database"),
    "io.containerd.runtime-handler.v1": (
        "A runtime that the shim of this project can drive.",
        "runtime.RuntimeHandler",
    ),
    "io.containerd.runtime.v2": ("Tasks and their shims.", "runtime.TaskRuntime"),
    "io.containerd.server.v1": ("Listeners.", ""),
    "io.containerd.service.v1": ("Stores with namespaces, behind the services of the API.", ""),
    "io.containerd.snapshot-records.v1": (
        "What is known of snapshots, for snapshotters.",
        "snapshots.SnapshotRecordStore",
    ),
    "io.containerd.snapshotter.v1": ("Root filesystems of containers, layer on layer.", "snapshots.Snapshotter"),
    "io.containerd.streaming.v1": ("Streams of bytes between clients and services.", ""),
    "io.containerd.transfer.v1": ("Images in and out.", ""),
    "io.containerd.ttrpc.v1": ("A service that shims call.", "service.RpcService"),
    "io.containerd.unpack.v1": ("Layers of an image into snapshots.", "unpack.Unpacker"),
}


def plugins() -> str:
    """docs/reference/plugins.md."""
    known = registrations()
    of_type: dict[str, list[Registration]] = {}
    for uri in sorted(known):
        of_type.setdefault(split_uri(uri)[0], []).append(known[uri])
    parts = [
        "# Plugin types\n",
        HEAD,
        (
            "A plugin is known by its type and its id: `io.containerd.snapshotter.v1.overlayfs`. What a type's plugins give is a contract"
            " ([contracts](contracts.md)); one that requires the type sees that, and not whose it is. Config keys are in"
            " [config](config.md).\n"
        ),
    ]
    packages = _packages()
    for type_, (text, contract) in TYPES.items():
        found = of_type.get(type_, [])
        later = [uri for uri in PACKAGES if split_uri(uri)[0] == type_ and uri not in known]
        parts.append(f"## {type_}\n")
        parts.append(text + (f" Contract: {_contract(contract)}." if contract else "") + "\n")
        if found:
            parts.append("| id | package | requires | wants | more |\n| --- | --- | --- | --- | --- |")
            parts += [_row(one, packages[f"{type_}.{one.id}"]) for one in found if isinstance(one, Registration)]
            parts.append("")
        parts += [f"`{split_uri(uri)[1]}` comes with `{PACKAGES[uri]}`.\n" for uri in later]
    return "\n".join(parts).rstrip("\n") + "\n"


def _row(one: Registration, package: str) -> str:
    more = [f"on {', '.join(one.platforms)}"] if one.platforms else []
    more += [f"[config](config.md#{_anchor(one.uri)})"] if one.config is not None and attrs.fields(one.config) else []
    more += [f"init within {one.deadline:g} s"] if one.deadline != DEADLINE else []
    more += ["reloads"] if one.reload is not None else []
    return f"| `{one.id}` | {package} | {_names(one.requires)} | {_names(one.wants)} | {', '.join(more)} |"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name.removeprefix('io.containerd.')}`" for name in names)


def _anchor(text: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^a-z0-9_-]", "", text.lower().replace(" ", "-"))


def _contract(name: str) -> str:
    if name == "hooks":
        return "[hooks](../hooks.md)"
    return f"[{name}](contracts.md#{_anchor(name.partition('.')[2])})"


def _packages() -> dict[str, str]:
    """The package of each plugin, by URI."""
    import tomli

    found = {}
    for project in [ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]:
        table = tomli.loads(project.read_text(encoding="utf-8"))["project"]
        points = table.get("entry-points", {}).get("pycontainerd.plugins", {})
        found.update(dict.fromkeys(points, table["name"]))
    return found


def contract_pages() -> str:
    """docs/reference/contracts.md."""
    parts = [
        "# Contracts\n",
        HEAD,
        (
            "What plugins implement and consume: Protocols and the records they speak in, of `pycontainerd.contracts`. Errors are those of"
            " `pycontainerd.contracts.errors`, last on this page. Full texts are in the docstrings.\n"
        ),
    ]
    modules = [
        importlib.import_module(f"{contracts.__name__}.{one.name}") for one in pkgutil.iter_modules(contracts.__path__)
    ]
    for module in sorted(modules, key=lambda one: (one.__name__.endswith(".errors"), one.__name__)):
        found = [*_classes(module)]
        if not any(_is_protocol(one) for one in found) and not module.__name__.endswith(".errors"):
            continue
        parts += [f"## {module.__name__.rpartition('.')[2]}\n", _first(inspect.getdoc(module)) + "\n"]
        for one in found:
            parts += [*_of_class(one)]
    return "\n".join(parts).rstrip("\n") + "\n"


def _classes(module: Any) -> Iterator[type]:
    """The public classes of a module: Protocols first, each group in the order of the file."""
    own = [
        one
        for name, one in vars(module).items()
        if inspect.isclass(one) and one.__module__ == module.__name__ and not name.startswith("_")
    ]
    yield from sorted(own, key=lambda one: not _is_protocol(one))


def _is_protocol(one: type) -> bool:
    return Protocol in one.__mro__[1:]


def _of_class(one: type) -> Iterator[str]:
    yield f"### {one.__name__}\n"
    text = _first(one.__doc__ if one.__doc__ and not one.__doc__.startswith(f"{one.__name__}(") else "")
    if text:
        yield f"{text}\n"
    lines = []
    for name, kind in getattr(one, "__annotations__", {}).items():
        if not name.startswith("_"):
            lines.append(f"- `{name}: {kind if isinstance(kind, str) else getattr(kind, '__forward_arg__', kind)}`")
    for name, member in vars(one).items():
        function = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        shown = "" if isinstance(member, property) else _signature(function)
        text = _first(function.__doc__)
        lines.append(f"- `{name}{shown}`" + (f": {text}" if text else ""))
    if lines:
        yield "\n".join(lines) + "\n"


class _Bare(str):
    """An annotation, which is a string already, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    kept = [
        one.replace(annotation=_Bare(one.annotation), default={} if one.default == {} else one.default)
        for one in signature.parameters.values()
        if one.name not in ("self", "cls")
    ]
    return str(signature.replace(parameters=kept, return_annotation=_Bare(signature.return_annotation)))


def _first(text: str | None) -> str:
    """The first paragraph of a docstring, in Markdown."""
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split()).replace("``", "`")


def config() -> str:
    """docs/reference/config.md."""
    parts = [
        "# Config keys\n",
        HEAD,
        (
            "Every key of version 4, with its default. `containerd config default` prints the same as a file, `config explain KEY` what a key is"
            " set to and where; [configuration](../configuration.md) has the rest.\n"
        ),
        "## The main table\n",
        *_table(of_class(Main)),
    ]
    for uri, one in sorted(registrations().items()):
        if isinstance(one, Registration) and one.config is not None and attrs.fields(one.config):
            made = of_class(one.config)
            parts.append(f"## {uri}\n")
            parts += [_cell(made["description"]) + "\n"] if made.get("description") else []
            parts += _table(made)
    return "\n".join(parts).rstrip("\n") + "\n"


def _table(schema: Mapping[str, Any]) -> list[str]:
    return ["| key | type | default | |\n| --- | --- | --- | --- |", *_keys(schema, ""), ""]


def _keys(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, one in schema.get("properties", {}).items():
        inner = one.get("additionalProperties")
        if one.get("properties"):
            yield from _keys(one, f"{prefix}{name}.")
        elif isinstance(inner, Mapping) and inner.get("properties"):
            yield f"| `{prefix}{name}` | tables by name | | {_cell(one.get('description', ''))} |"
            yield from _keys(inner, f"{prefix}{name}.NAME.")
        else:
            default = f"`{json.dumps(one['default'])}`" if "default" in one else ""
            yield f"| `{prefix}{name}` | {_kind(one)} | {default} | {_cell(one.get('description', ''))} |"


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}s" if schema.get("items") else "list"
    if schema.get("type") == "object":
        return f"table of {_kind(schema['additionalProperties'])}s" if schema.get("additionalProperties") else "table"
    return str(schema.get("type", "anything"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


PAGES = {
    "docs/reference/plugins.md": plugins,
    "docs/reference/contracts.md": contract_pages,
    "docs/reference/config.md": config,
}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        path = Path(ROOT, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
