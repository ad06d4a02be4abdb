"""The plugin in the README works as it is printed."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from functools import partial
from pathlib import Path

import tomli

from pycontainerd.config import load
from pycontainerd.kernel import Daemon, Kernel, State
from pycontainerd.kernel.discovery import GROUP, discover

README = Path(__file__).resolve().parents[3] / "README.md"
URI = "io.example.greeter.v1.hello"


def test_the_plugin_in_the_readme_runs_once_it_is_installed(tmp_path, monkeypatch, packages):
    text = README.read_text(encoding="utf-8").partition("<!-- plugin: checked by a test -->")[2]
    module, project = re.match(r"\n```python\n(.+?)```\n```toml\n(.+?)```\n", text, re.DOTALL).groups()
    code = [line for line in module.splitlines() if line and not line.startswith("#")]
    assert len(code) <= 20
    points = tomli.loads(project)["project"]["entry-points"][GROUP]
    packages.install(tmp_path / "site", "greeter", module, points)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    config = tmp_path / "config.toml"
    config.write_text(f'version = 3\n[plugins."{URI}"]\nname = "moon"\n')
    settings = load(str(config))
    find = partial(discover, group=packages.GROUP)
    kernel = Kernel(Daemon(str(tmp_path / "root"), str(tmp_path / "state")), settings, find=find)

    async def run():
        await kernel.start()
        row, instance = kernel.report.rows[URI], kernel.instances("io.example.greeter.v1")["hello"]
        await kernel.stop()
        return row, instance

    try:
        row, instance = asyncio.run(run())
    finally:
        sys.modules.pop("greeter", None)
        importlib.invalidate_caches()
    assert row.state is State.OK, row.sentence
    assert row.exports == {"greeting": "Hello, moon!"}
    assert instance.greeting == "Hello, moon!"
