"""A clean virtual environment with our packages as wheels: what somebody has who has only installed them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from pycontainerd.testing import needs

ROOT = Path(__file__).resolve().parents[2]


@attrs.frozen
class Venv:
    """A virtual environment, and the uv that fills it."""

    path: Path
    uv: str

    @property
    def python(self) -> str:
        return f"{self.path}/bin/python"

    def environment(self) -> dict[str, str]:
        """That of someone who has activated it, and nothing of who runs the tests."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("CONTAINERD_", "PYTEST_", "PYTHON")) and key != "VIRTUAL_ENV"
        }
        return {**kept, "PATH": f"{self.path}/bin:{os.environ['PATH']}", "VIRTUAL_ENV": str(self.path)}

    def run(self, *command: str, cwd: Path | str = "/", timeout: float = 110) -> str:
        """Run a command in it; returns all that it prints. One that fails raises AssertionError with that."""
        done = subprocess.run(
            command, cwd=cwd, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def packages(self, *arguments: str, cwd: Path | str = ROOT) -> None:
        """uv, from its cache where that has all it takes (as it has after `make venv`), else from the index."""
        for offline in (["--offline"], []):
            done = subprocess.run(
                [self.uv, *arguments, *offline], cwd=cwd, env=self.environment(), stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=110, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return
        raise AssertionError(f"uv {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")

    def install_package(self, source: Path) -> None:
        """Build a wheel of a package and install it."""
        out = self.path / "wheels" / source.name
        self.packages("build", "-q", "--wheel", "-o", str(out), str(source))
        self.packages("pip", "install", "-q", "--no-deps", "--python", self.python, *map(str, out.glob("*.whl")))


@pytest.fixture(scope="session")
def clean_venv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venv]:
    """With every package of ours, and the third-party packages that are pinned."""
    needs.root()
    uv = shutil.which("uv", path=f"{ROOT}/.tools/bin:{os.environ['PATH']}")
    if uv is None:
        needs.missing("uv is not installed: make venv")
    path = tmp_path_factory.mktemp("clean") / "venv"
    made = Venv(path, uv)
    made.packages("venv", "-q", str(path))
    made.packages("pip", "install", "-q", "--python", made.python, "--require-hashes", "-r", "requirements.lock")
    for project in (ROOT / "core", *sorted((ROOT / "plugins").iterdir())):
        if (project / "pyproject.toml").exists():
            made.install_package(project)
    yield made
    shutil.rmtree(path)
