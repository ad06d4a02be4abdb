"""Kernels made of registrations or of packages, and the settings they ask for."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from pycontainerd.kernel import Daemon, Kernel, Registration, Report
from pycontainerd.kernel.discovery import Found, discover


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"kernel_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@attrs.define
class Told:
    """Settings without a file."""

    disabled: Mapping[str, str] = attrs.field(factory=dict)
    required: Mapping[str, str] = attrs.field(factory=dict)
    broken: Mapping[str, str] = attrs.field(factory=dict)

    def plugin(self, uri: str, config: type[Any] | None) -> Any:
        if uri in self.broken:
            raise ValueError(self.broken[uri])
        return config() if config is not None else None


@attrs.define
class Made:
    """One run of a kernel: its report while it ran, and what it held."""

    report: Report
    kernel: Kernel


@pytest.fixture
def told() -> type[Told]:
    return Told


@pytest.fixture
def packages() -> ModuleType:
    return _load("packages")


@pytest.fixture
def kernel(tmp_path: Path) -> Callable[..., Kernel]:
    """A kernel of registrations (nothing else is installed)."""

    def make(*registrations: Registration, settings: Told | None = None) -> Kernel:
        found = {one.uri: Found(one.uri, "dist", "1", registration=one) for one in registrations}

        def find(disabled: Mapping[str, str]) -> Mapping[str, Found]:
            return {uri: attrs.evolve(one, registration=None) if uri in disabled else one for uri, one in found.items()}

        return Kernel(Daemon(str(tmp_path / "root"), str(tmp_path / "state")), settings or Told(), find=find)

    return make


@pytest.fixture
def run(kernel: Callable[..., Kernel]) -> Callable[..., Made]:
    """Start and stop a kernel of registrations."""

    def go(*registrations: Registration, settings: Told | None = None) -> Made:
        made = kernel(*registrations, settings=settings)
        return Made(asyncio.run(_once(made)), made)

    return go


async def _once(kernel: Kernel) -> Report:
    await kernel.start()
    report = kernel.report
    await kernel.stop()
    return report


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: ModuleType) -> Callable[..., Made]:
    """Start and stop a kernel that finds the packages under ``tmp_path/site*``."""

    def go(settings: Told | None = None) -> Made:
        for site in sorted(tmp_path.glob("site*")):
            monkeypatch.syspath_prepend(str(site))
        find = partial(discover, group=packages.GROUP)
        made = Kernel(Daemon(str(tmp_path / "root"), str(tmp_path / "state")), settings or Told(), find=find)
        before = set(sys.modules)
        try:
            return Made(asyncio.run(_once(made)), made)
        finally:
            for name in set(sys.modules) - before:
                if name.startswith("sample_"):
                    del sys.modules[name]

    return go
