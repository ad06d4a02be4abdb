"""The reference is that of this code, and leads to what exists."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    before = set(sys.modules)
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("generate_reference")
    finally:
        sys.path.remove(str(ROOT / "docs"))
        for name in {"generate", "generate_reference"} - before:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["plugins", "contracts", "config"])
def test_a_page_is_up_to_date(reference, name):
    path = f"docs/reference/{name}.md"
    assert (ROOT / path).read_text(encoding="utf-8") == reference.PAGES[path](), f"{path} is stale: run make docs"


def test_every_type_of_a_plugin_is_described_and_its_contract_exists(reference):
    types = {reference.split_uri(uri)[0] for uri in reference.registrations()}
    assert types <= set(reference.TYPES)
    for _, contract in reference.TYPES.values():
        if contract and contract != "hooks":
            module, name = contract.split(".")
            assert hasattr(importlib.import_module(f"pycontainerd.contracts.{module}"), name)


def test_every_key_of_a_plugin_says_what_it_does(reference):
    rows = re.findall(r"^\| `([^`]+)` \|.*\| ([^|]*) \|$", reference.config(), re.MULTILINE)
    assert rows
    assert [key for key, text in rows if not text.strip()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(page, reference):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {reference._anchor(one) for one in headings}, f"{page.name}: {target}"
