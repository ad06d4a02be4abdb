"""What a package declares it needs, its code imports, and the other way round; the lock file has all of it."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomli

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = sorted([ROOT / "core", *(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))])
# Modules of a distribution whose name in the metadata of an installation is not to be relied on.
NAMES = {"google": "protobuf", "grpc": "grpcio", "grpc_health": "grpcio-health-checking"}
MESSAGES = {"google.rpc": "googleapis-common-protos"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(project: Path, *, extras: bool) -> set[str]:
    table = tomli.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*table.get("dependencies", [])]
    if extras:
        listed += [item for items in table.get("optional-dependencies", {}).values() for item in items]
    return {normal(re.split(r"[\s\[<>=!~;]", item)[0]) for item in listed}


def imported(project: Path) -> set[str]:
    """The distributions whose modules the code of ``project`` imports, wherever in it."""
    found: set[str] = set()
    known = packages_distributions()
    for path in (project / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names:
                    continue
                special = next((dist for prefix, dist in MESSAGES.items() if name.startswith(f"{prefix}.")), "")
                dist = special or NAMES.get(top) or (known.get(top) or [top])[0]
                found.add(normal(dist))
    return found - {normal(tomli.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"])}


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_what_is_declared_is_imported_and_what_is_imported_is_declared(project: Path) -> None:
    used = imported(project)
    assert declared(project, extras=False) - used == set()
    assert used - declared(project, extras=True) == set()


def test_the_lock_file_has_every_dependency_that_is_not_ours() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {normal(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}
    wanted = set().union(*(declared(project, extras=True) for project in PROJECTS))
    assert {name for name in wanted if not name.startswith("pycontainerd")} - locked == set()
