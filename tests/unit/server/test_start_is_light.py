"""What a start of the daemon does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

DISCOVER = "from pycontainerd.kernel.discovery import discover; discover()"
SERVICES = (
    "import pycontainerd.transfer.local, pycontainerd.transfer.service, pycontainerd.tasks.service,"
    " pycontainerd.content.service, pycontainerd.events.service, pycontainerd.server.grpc_server"
)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (DISCOVER, {"aiohttp", "click", "cryptography", "grpc", "rich", "structlog"}),
        (
            SERVICES,
            {"aiohttp", "click", "cryptography", "rich", "structlog", "pycontainerd.client", "pycontainerd.oci"},
        ),
    ],
    ids=["finding plugins", "serving"],
)
def test_a_start_does_not_import(code, absent):
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert absent & set(done.stdout.split()) == set()
