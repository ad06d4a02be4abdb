"""The runtime specs of our ctr beside those of the Go tool: same daemon, same image, same options, same id."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pycontainerd.testing import needs
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.plugin import IMAGE

pytestmark = [pytest.mark.root, pytest.mark.interop]

OPTIONS = [
    [],
    ["--net-host"],
    ["--privileged"],
    ["--tty"],
    ["--read-only"],
    ["--env", "COLOUR=blue", "--env", "PATH=/x", "--cwd", "/tmp"],
    ["--memory-limit", "67108864"],
    ["--cpu-quota", "5000", "--cpu-period", "10000"],
    ["--cap-add", "CAP_NET_ADMIN", "--cap-drop", "CAP_KILL"],
    ["--mount", "type=bind,src=/tmp,dst=/host,options=rbind:ro"],
    ["--with-ns", "network:/proc/1/ns/net"],
    ["--device", "/dev/null"],
    ["--allow-new-privs"],
    ["--annotation", "a=b", "--label", "c=d"],
]

SpecOf = Callable[[str, list[str]], dict[str, Any]]


@pytest.fixture(scope="module")
def spec_of(debian_containerd_module: Any, image_archive: str) -> SpecOf:
    ours = Ctr(OURS, debian_containerd_module.address)
    theirs = Ctr((needs.command("ctr"),), debian_containerd_module.address, namespace=ours.namespace)
    ours("images", "import", image_archive)

    def make(who: str, options: list[str]) -> dict[str, Any]:
        ctr = ours if who == "ours" else theirs
        ctr("containers", "create", *options, IMAGE, "same", "echo", "hello")
        try:
            found = json.loads(ours("containers", "info", "same"))
            return {"spec": normalized(found["spec"]), "labels": found["labels"], "runtime": found["runtime"]}
        finally:
            ctr("containers", "rm", "same")

    return make


def normalized(spec: dict[str, Any]) -> dict[str, Any]:
    """Without what containerd has changed between 1.6 and 2.x, and without orders that mean nothing."""
    del spec["ociVersion"]
    linux = spec["linux"]
    linux["maskedPaths"] = sorted({*(linux.get("maskedPaths") or ())} - {"/sys/devices/virtual/powercap"})
    linux["readonlyPaths"] = sorted(linux.get("readonlyPaths") or ())
    # `create` of the Go tool knows no --cpu-shares, `run` has the kernel's default
    linux["resources"].get("cpu", {}).pop("shares", None)
    if not linux["resources"].get("cpu"):
        linux["resources"].pop("cpu", None)
    if "devices" in linux:
        linux["devices"].sort(key=lambda item: item["path"])
        rules = linux["resources"]["devices"]
        rules.sort(key=lambda item: json.dumps(item, sort_keys=True))
    for names in spec["process"]["capabilities"].values():
        names.sort()
    return spec


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_a_spec_is_what_the_go_tool_makes(spec_of: SpecOf, options: list[str]) -> None:
    assert spec_of("ours", options) == spec_of("go", options)
