"""Config files in a directory of the test's own."""

from __future__ import annotations

import pytest


@pytest.fixture
def write(tmp_path):
    def put(text, name="config.toml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return put
