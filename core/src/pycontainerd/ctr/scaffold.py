"""``ctr plugins new``: a package of its own for a plugin, with tests that pass as it stands.

The files are in ``templates``: ``common`` for all, and a directory for each kind, whose ``src`` becomes the package.
"""

from __future__ import annotations

import os
import re
import shutil
import string
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import attrs
import click

from pycontainerd import __version__
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument

TEMPLATES = os.path.join(os.path.dirname(__file__), "templates")
MAX_NAME = 40
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_SUFFIX = ".tmpl"
_PLUGIN = "$package.plugin:registration"


@attrs.frozen
class Kind:
    """What can be made: entry points by URI, both with the placeholders of templates."""

    summary: str
    points: Mapping[str, str]
    notes: str = ""


KINDS: Mapping[str, Kind] = {
    "snapshotter": Kind(
        "A snapshotter for pycontainerd", {"io.containerd.snapshotter.v1.$name": _PLUGIN},
        "Use it with `ctr run --snapshotter $name`, or make it the default of a namespace with the label"
        " `containerd.io/defaults/snapshotter=$name`.",
    ),
    "content": Kind(
        "A content store for pycontainerd", {"io.containerd.content.v1.$name": _PLUGIN},
        "A daemon has one content store: disable the one that comes with it, `io.containerd.content.v1.content`.",
    ),
    "differ": Kind(
        "A differ for pycontainerd", {"io.containerd.differ.v1.$name": _PLUGIN},
        "The daemon asks the differs that its configuration names:\n\n"
        '    [plugins."io.containerd.service.v1.diff-service"]\n      default = ["$name", "walking"]',
    ),
    "runtime": Kind(
        "A container runtime for pycontainerd", {"io.containerd.runtime-handler.v1.$name": _PLUGIN},
        "Use it with `ctr run --runtime io.containerd.$name.v1`.",
    ),
    "hook": Kind(
        "Hooks for pycontainerd: a change of every container's spec, and a command of ctr",
        {"io.containerd.hook.v1.$name": _PLUGIN, "io.containerd.ctr.v1.$name": "$package.command"},
        "The command is `ctr $name`.",
    ),
    "verifier": Kind(
        "An image verifier for pycontainerd", {"io.containerd.image-verifier.v1.$name": _PLUGIN},
        "While it is installed, enabled and not able to start, nothing is pulled.",
    ),
    "service": Kind(
        "A gRPC service for pycontainerd", {"io.containerd.grpc.v1.$name": _PLUGIN},
        "It is served on the daemon's socket, beside those of containerd.",
    ),
}  # fmt: skip


@click.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)))
@click.argument("name")
@click.option("--dir", "-d", "directory", default=".", show_default=True, help="Where to make the package's directory")
def new(kind: str, name: str, directory: str) -> None:
    """Write a package with a plugin of KIND called NAME, and its tests."""
    path = create(kind, name, directory)
    click.echo(f"{path}\nNext: pip install -e '{path}[test]' && pytest {path}")


def create(kind: str, name: str, directory: str) -> str:
    """Write the package into a new directory below ``directory``; returns its path. On failure nothing is left.

    :raises InvalidArgument: the name cannot be that of a plugin and a package.
    :raises AlreadyExists: the directory is there.
    """
    if not _NAME.match(name) or len(name) > MAX_NAME:
        raise InvalidArgument(
            f"a plugin cannot be called {name[:80]!r}",
            hint=f"lower-case letters and digits, joined by single dashes, at most {MAX_NAME} characters",
        )
    values = placeholders(kind, name)
    target = os.path.abspath(os.path.join(directory, values["dist"]))
    if os.path.lexists(target):
        raise AlreadyExists(f"cannot make the package {target}: it is there already")
    os.makedirs(os.path.abspath(directory), exist_ok=True)
    aside = tempfile.mkdtemp(prefix=f".{values['dist']}-", dir=os.path.abspath(directory))
    try:
        for relative, text in files(kind, values):
            path = os.path.join(aside, relative)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
        os.chmod(aside, 0o755)
        os.rename(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return target


def placeholders(kind: str, name: str) -> dict[str, str]:
    """What stands for what in the templates."""
    one = KINDS[kind]
    dist = f"pycontainerd-{kind}-{name}"
    values = {
        "name": name,
        "Class": "".join(part.capitalize() for part in name.split("-")),
        "dist": dist,
        "package": dist.replace("-", "_"),
        "version": __version__,
        "summary": one.summary,
    }
    points = {_filled(uri, values): _filled(value, values) for uri, value in one.points.items()}
    values["uri"] = next(iter(points))
    values["entry_points"] = "\n".join(f'"{uri}" = "{value}"' for uri, value in points.items())
    values["notes"] = _filled(one.notes, values)
    return values


def files(kind: str, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every file of the package: its path in it, and its text."""
    yield f"src/{values['package']}/__init__.py", f'"""{values["summary"]}."""\n'
    yield f"src/{values['package']}/py.typed", ""
    for place, inside in (("common", ""), (f"{kind}/src", f"src/{values['package']}"), (f"{kind}/tests", "tests")):
        for name in _names(os.path.join(TEMPLATES, place)):
            with open(os.path.join(TEMPLATES, place, name), encoding="utf-8") as file:
                yield os.path.join(inside, name.removesuffix(_SUFFIX)), _filled(file.read(), values)


def _names(directory: str) -> Sequence[str]:
    return sorted(name for name in os.listdir(directory) if name.endswith(_SUFFIX))


def _filled(text: str, values: Mapping[str, str]) -> str:
    return string.Template(text).substitute(values)
