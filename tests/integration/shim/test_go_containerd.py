"""Our shim under Debian's Go containerd."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from pycontainerd.sys.mount import unmount_recursive

RUNTIME = "io.containerd.pyrunc.v2"
NEEDED = ("containerd", "ctr", "runc")


def namespace(base):
    """A namespace of its own; names of temporary directories may have underscores where identifiers may not."""
    return os.path.basename(base).replace("_", "0")


@pytest.fixture
def go():
    """Debian's containerd with our executables on its PATH: a function that runs its ctr."""
    missing = [name for name in NEEDED if not os.path.exists(f"/usr/bin/{name}") and not shutil.which(name)]
    if os.geteuid() != 0 or missing or not os.path.exists("/bin/busybox"):
        if os.environ.get("CI"):
            pytest.fail(f"needs root, containerd, runc and busybox-static (missing: {missing})")
        pytest.skip("needs root, containerd, runc and busybox-static")
    base = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    root = f"{base}/image"
    for directory in ("bin", "proc", "dev", "sys", "tmp", "run", "etc"):
        os.makedirs(f"{root}/{directory}")
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    for applet in ("sh", "echo", "sleep", "true", "id"):
        os.symlink("busybox", f"{root}/bin/{applet}")
    with open(f"{base}/config.toml", "w") as file:
        file.write(
            f'version = 2\nroot = "{base}/root"\nstate = "{base}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{base}/c.sock"\n[ttrpc]\naddress = "{base}/c.sock.ttrpc"\n'
        )
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:/usr/sbin:/usr/bin:/sbin:/bin"}
    with open(f"{base}/log", "wb") as log:
        daemon = subprocess.Popen(
            ["/usr/bin/containerd", "-c", f"{base}/config.toml"], stdout=log, stderr=log, env=environment
        )

    def ctr(*arguments, check=True):
        command = ["/usr/bin/ctr", "-a", f"{base}/c.sock", "-n", namespace(base), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            with open(f"{base}/log") as log:
                pytest.fail(f"ctr {arguments}: {done.stderr}\n{log.read()[-3000:]}")
        return done

    ctr.root = root
    ctr.base = base
    try:
        deadline = time.monotonic() + 20
        while ctr("version", check=False).returncode:
            assert daemon.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield ctr
    finally:
        for task in ctr("task", "ls", "-q", check=False).stdout.split():
            ctr("task", "rm", "-f", task, check=False)
        daemon.terminate()
        daemon.wait(20)
        unmount_recursive(base)
        shutil.rmtree(base)
        for hierarchy in os.listdir("/sys/fs/cgroup"):
            with contextlib.suppress(OSError):
                os.rmdir(f"/sys/fs/cgroup/{hierarchy}/{namespace(base)}")


def test_the_go_containerd_runs_a_container_with_our_shim(go):
    done = go("run", "--rm", "--runtime", RUNTIME, "--rootfs", go.root, "one", "/bin/echo", "hello from the shim")
    assert done.stdout == "hello from the shim\n"
    done = go("run", "--rm", "--runtime", RUNTIME, "--rootfs", go.root, "two", "/bin/sh", "-c", "exit 5", check=False)
    assert done.returncode == 5
    assert go("task", "ls", "-q").stdout == ""


def test_the_go_containerd_keeps_a_container_in_our_shim(go):
    go("run", "-d", "--runtime", RUNTIME, "--rootfs", go.root, "kept", "/bin/sh", "-c", "while :; do sleep 1000; done")
    assert "RUNNING" in go("task", "ls").stdout
    assert go("task", "exec", "--exec-id", "e", "kept", "/bin/echo", "inside").stdout == "inside\n"
    assert "memory" in go("task", "metrics", "kept").stdout
    go("task", "pause", "kept")
    assert "PAUSED" in go("task", "ls").stdout
    go("task", "resume", "kept")
    go("task", "kill", "-s", "KILL", "kept")
    deadline = time.monotonic() + 20
    while "STOPPED" not in go("task", "ls").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    go("task", "rm", "kept", check=False)
    assert go("task", "ls", "-q").stdout == ""


def test_what_a_killed_shim_leaves_is_removed(go):
    go("run", "-d", "--runtime", RUNTIME, "--rootfs", go.root, "dead", "/bin/sh", "-c", "while :; do sleep 1000; done")
    bundle = f"{go.base}/state/io.containerd.runtime.v2.task/{namespace(go.base)}/dead"
    with open(f"{bundle}/shim.pid") as file:
        os.kill(int(file.read()), 9)
    deadline = time.monotonic() + 20
    while os.path.exists(bundle):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert go("task", "ls", "-q").stdout == ""
