"""The house rules that no linter knows: sizes, annotations, docstrings, and a kernel that stands alone."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE = 500  # lines
MAX_FUNCTION = 60
MAX_KERNEL = 1500
# What a reader expects to explain itself: constructors, dunders, and the verbs of a Logger.
SELF_EXPLAINING = {"debug", "info", "warning", "error"}

SOURCES = sorted(
    path
    for folder in ("core/src", "plugins", "tests", "benchmarks", "docs")
    for path in (ROOT / folder).rglob("*.py")
    if not path.name.endswith("_pb2.py") and not {"build", ".venv"} & set(path.relative_to(ROOT).parts)
)
SHIPPED = [path for path in SOURCES if "src" in path.relative_to(ROOT).parts]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def where(path: Path, node: Function | ast.ClassDef) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE} == {}


def test_every_function_fits_on_a_screen() -> None:
    long = [
        where(path, node)
        for path in SOURCES
        for node in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno >= MAX_FUNCTION
    ]
    assert long == []


def test_everything_shipped_is_annotated() -> None:
    bare = []
    for path in SHIPPED:
        for node in functions(path):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            arguments += [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
            wanted = [one for one in arguments if one.arg not in ("self", "cls")]
            if node.returns is None or any(one.annotation is None for one in wanted):
                bare.append(where(path, node))
    assert bare == []


@pytest.mark.parametrize("package", ["kernel", "contracts"])
def test_public_names_of_kernel_and_contracts_have_docstrings(package: str) -> None:
    """Public functions and classes of a module; methods of what plugin authors get from the kernel.

    The error classes are named by what they say, an event record by its message, and the methods of a Protocol by
    their verbs: those may go without.
    """
    silent = []
    for path in sorted((ROOT / "core/src/pycontainerd" / package).glob("*.py")):
        assert ast.get_docstring(tree(path)), f"{path} has no docstring"
        nodes = [node for node in tree(path).body if isinstance(node, (*Function.__args__, ast.ClassDef))]
        if package == "kernel":
            nodes += [item for node in nodes if isinstance(node, ast.ClassDef) for item in node.body]
        silent += [
            where(path, node)
            for node in nodes
            if isinstance(node, (*Function.__args__, ast.ClassDef))
            and not node.name.startswith("_")
            and node.name not in SELF_EXPLAINING
            and path.name not in ("events.py", "rows.py", *(["errors.py"] if package == "contracts" else []))
            and not ast.get_docstring(node)
        ]
    assert silent == []


def test_the_kernel_is_small_and_imports_nothing_of_ours() -> None:
    files = sorted((ROOT / "core/src/pycontainerd/kernel").glob("*.py"))
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) < MAX_KERNEL
    for path in files:
        for node in ast.walk(tree(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2, f"{path}:{node.lineno} leaves the kernel"
                names = [node.module or ""] if node.level == 0 else []
            assert not [name for name in names if name.startswith("pycontainerd")], f"{path}:{node.lineno}"


def test_no_file_names_a_private_path_or_host() -> None:
    """Package indexes and paths of the machine a developer happens to use have no place in what we publish."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES if path != Path(__file__)}
    texts |= {path: path.read_text(encoding="utf-8") for path in ROOT.glob("*/*.md")}
    texts |= {path: path.read_text(encoding="utf-8") for path in ROOT.glob("*.md")}
    private = (f"{ROOT}/", "index-url", "artifactory", ".internal/")
    found = [(str(path.relative_to(ROOT)), word) for path, text in texts.items() for word in private if word in text]
    assert found == []
    assert "--index-url" not in lock
    assert "://" not in lock
