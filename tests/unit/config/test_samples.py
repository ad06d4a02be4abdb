"""Configurations as they are found in the world: none has an error, and each means what it says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import tomli

from pycontainerd.config import load
from pycontainerd.config.check import check
from pycontainerd.config.document import lookup
from pycontainerd.config.loader import read_layers
from pycontainerd.config.plugins import installed
from pycontainerd.config.rewrite import prove, rewrite

SAMPLES = Path(__file__).parent / "samples"
CRI = "io.containerd.grpc.v1.cri"
IMAGES = ("plugins", "io.containerd.cri.v1.images")
RUNTIME = ("plugins", "io.containerd.cri.v1.runtime")
RUNTIMES = (*RUNTIME, "containerd", "runtimes")

MEANS = {
    "docker-packages": {("disabled_plugins",): [CRI]},
    "kubeadm": {
        (*RUNTIMES, "runc", "options", "SystemdCgroup"): True,
        (*IMAGES, "pinned_images", "sandbox"): "registry.k8s.io/pause:3.9",
    },
    "kubeadm-v1": {
        (*RUNTIME, "systemd_cgroup"): True,
        (*IMAGES, "registry", "mirrors", "docker.io", "endpoint"): ["https://mirror.example"],
        ("plugins", "io.containerd.runtime.v1.linux", "runtime"): "runc",
    },
    "kind": {
        (*IMAGES, "discard_unpacked_layers"): True,
        (*IMAGES, "registry", "config_path"): "/etc/containerd/certs.d",
        (*RUNTIMES, "test-handler", "runtime_type"): "io.containerd.runc.v2",
        (*RUNTIME, "tolerate_missing_hugetlb_controller"): True,
        ("proxy_plugins", "fuse-overlayfs", "type"): "snapshot",
    },
    "k3s": {
        ("plugins", "io.containerd.server.v1.grpc", "address"): "/run/k3s/containerd/containerd.sock",
        ("plugins", CRI, "stream_server_port"): "10010",
        (*IMAGES, "pinned_images", "sandbox"): "docker.io/rancher/mirrored-pause:3.6",
        (*RUNTIME, "enable_unprivileged_ports"): True,
    },
    "nvidia": {
        (*RUNTIME, "containerd", "default_runtime_name"): "nvidia",
        (*RUNTIMES, "nvidia", "options", "BinaryName"): "/usr/bin/nvidia-container-runtime",
    },
    "kubeadm-v3": {
        (*RUNTIMES, "runc", "options", "SystemdCgroup"): True,
        (*IMAGES, "pinned_images", "sandbox"): "registry.k8s.io/pause:3.10.1",
    },
    "k3s-v2": {
        (*IMAGES, "registry", "configs", "registry.example:5000", "auth", "username"): "user",
        (*RUNTIME, "cni", "bin_dirs"): ["/var/lib/rancher/k3s/data/current/bin"],
        (*RUNTIMES, "crun", "options", "BinaryName"): "/usr/bin/crun",
        ("plugins", CRI, "stream_server_port"): "10010",
    },
    "docker-engine": {
        ("plugins", "io.containerd.server.v1.grpc", "address"): "/var/run/docker/containerd/containerd.sock",
        ("plugins", "io.containerd.server.v1.ttrpc", "address"): "/var/run/docker/containerd/containerd.sock.ttrpc",
        ("disabled_plugins",): [CRI],
    },
    "lazy-snapshotters": {
        (*IMAGES, "snapshotter"): "stargz",
        ("proxy_plugins", "stargz", "exports", "enable_remote_snapshot_annotations"): "true",
    },
    "nvidia-drop-in": {(*RUNTIME, "containerd", "default_runtime_name"): "nvidia"},
    "go-2.3": {("plugins", "io.containerd.server.v1.ttrpc", "address"): "/run/containerd/containerd.sock.ttrpc"},
}
# What a sample asks for and this release does not do is said; it is no error.
WARNS = {"docker-engine": ["debug.address: nothing will listen on"]}


@pytest.mark.parametrize("name", MEANS)
def test_a_sample_means_what_it_says_and_has_no_error(name):
    path = str(SAMPLES / f"{name}.toml")
    values = load(path).values
    assert {key: lookup(values, key) for key in MEANS[name]} == MEANS[name]
    findings, _ = check(path)
    said = [one for one in findings if one.severity != "note"]
    assert [one.message.startswith(text) for one, text in zip(said, WARNS.get(name, ()), strict=True)] == [True] * len(
        said
    )
    assert [one for one in said if one.severity == "error"] == []


def test_every_sample_is_tested():
    assert {path.stem for path in SAMPLES.glob("*.toml")} == set(MEANS)


@pytest.mark.parametrize("name", MEANS)
def test_a_migrated_sample_means_the_same_and_keeps_its_comments(name, write):
    layers = read_layers(str(SAMPLES / f"{name}.toml"))
    text = rewrite(layers[0])
    prove(layers, 0, text)
    assert tomli.loads(text)["version"] == 4
    for line in layers[0].text.splitlines():
        if line.startswith("#"):
            assert line.lstrip("# ") in text
    again = read_layers(write(text))
    assert tomli.loads(rewrite(again[0])) == tomli.loads(text)


@pytest.fixture(params=dict.fromkeys(["/usr/bin/containerd", os.environ.get("GO_CONTAINERD") or "/usr/bin/containerd"]))
def go_default(request):
    """What ``containerd config default`` prints: of the distribution's, and of the one that GO_CONTAINERD names."""
    binary = request.param
    if not os.path.exists(binary):
        if os.environ.get("CI"):
            pytest.fail("the Go containerd is missing: run packaging/setup.sh test")
        pytest.skip("the Go containerd is not installed")
    return subprocess.run([binary, "config", "default"], capture_output=True, text=True, check=True, timeout=30).stdout


def test_the_default_config_of_a_go_containerd_has_neither_error_nor_warning(write, go_default):
    path = write(re.sub("^imports = .*$", "imports = []", go_default, flags=re.MULTILINE))
    findings, settings = check(path)
    assert [one for one in findings if one.severity != "note"] == []
    layers = read_layers(path)
    prove(layers, 0, rewrite(layers[0]))
    here = installed()
    for uri in here.configs:
        assert list(settings.unknown_keys(uri, here.configs[uri])) == []
    assert [*settings.unknown_listed(here.installed), *settings.unknown_tables(here.installed)] == []


def test_a_drop_in_of_another_version_joins_a_whole_default_config(write, go_default):
    text = re.sub("^imports = .*$", "imports = []", go_default, flags=re.MULTILINE)
    drop_in = SAMPLES / "nvidia-drop-in.toml"
    main = write(text.replace("imports = []", f'imports = ["{drop_in}"]'))
    findings, settings = check(main)
    assert [one for one in findings if one.severity != "note"] == []
    assert lookup(settings.values, (*RUNTIME, "containerd", "default_runtime_name")) == "nvidia"
    # A containerd that is built without CRI has no runtimes in its defaults.
    assert set(lookup(settings.values, RUNTIMES)) - {"runc"} == {"nvidia"}
    assert ("runc" in lookup(settings.values, RUNTIMES)) == ("runtimes.runc" in text)
    layers = read_layers(main)
    prove(layers, 0, rewrite(layers[0]))
