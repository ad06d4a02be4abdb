# ruff: noqa: ASYNC110
"""Real shims, real runc, a root file system of busybox, and no daemon but a socket that takes events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile

import pytest
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.anys import unpack
from pycontainerd.api.events import task_pb2 as _events  # noqa: F401 - for unpack
from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.api.services.ttrpc.events.v1 import events_pb2 as _service  # noqa: F401
from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.oci import default_spec
from pycontainerd.shim.zygote import ShimStart, spawn
from pycontainerd.sys.mount import unmount_recursive
from pycontainerd.ttrpc.client import Client
from pycontainerd.ttrpc.server import Server, listener

DRIVER = "pycontainerd_runtime_runc.driver:driver"
APPLETS = ("sh", "sleep", "cat", "echo", "head", "stty", "true", "dd", "id", "tr", "kill")


class Events:
    SERVICE = "containerd.services.events.ttrpc.v1.Events"

    def __init__(self):
        self.seen = []

    async def Forward(self, request, call):
        envelope = request.envelope
        self.seen.append((envelope.topic, unpack(envelope.event)))
        return Empty()

    def topics(self):
        return [topic.removeprefix("/tasks/") for topic, _ in self.seen]

    async def until(self, topic, count=1):
        async with asyncio.timeout(20):
            while self.topics().count(topic) < count:
                await asyncio.sleep(0.01)
        return next(event for name, event in self.seen if name == f"/tasks/{topic}")


class Task:
    """One container in its shim."""

    def __init__(self, lab, name, bundle):
        self.lab, self.id, self.bundle = lab, name, bundle
        self.client = None
        self.service = "containerd.task.v3.Task"

    async def call(self, method, timeout=30, **fields):
        request = {
            "Exec": "ExecProcess",
            "Create": "CreateTask",
            "Update": "UpdateTask",
            "Checkpoint": "CheckpointTask",
        }
        message = getattr(pb, f"{request.get(method, method)}Request")(id=self.id, **fields)
        response = getattr(pb, f"{request.get(method, method)}Response", Empty)
        if method == "Exec":
            response = Empty
        return await self.client.call(self.service, method, message, response, timeout=timeout)

    async def create(self, **fields):
        return await self.call("Create", bundle=self.bundle, **fields)

    async def run(self, **fields):
        await self.create(**fields)
        await self.call("Start")

    async def ended(self, **fields):
        return (await self.call("Wait", **fields)).exit_status

    async def gone(self):
        with contextlib.suppress(ContainerdError):
            await self.call("Kill", signal=9)
        with contextlib.suppress(ContainerdError):
            await self.call("Wait")
            await self.call("Delete")
        with contextlib.suppress(ContainerdError):
            await self.call("Shutdown")
        self.client.close()


class Lab:
    def __init__(self, base):
        self.base = base
        self.state = f"{base}/io.containerd.runtime.v2.task"
        self.tag = os.path.basename(base)
        self.zygote = spawn()
        self.events = Events()
        self.server = Server([self.events])
        self.tasks = []
        self.fifos = 0

    async def open(self):
        await self.server.serve(listener(f"{self.base}/events.sock"))

    def bundle(self, name, args, change=None):
        bundle = f"{self.state}/test/{name}"
        root = f"{bundle}/rootfs"
        for directory in ("bin", "proc", "dev", "sys", "tmp", "run", "etc"):
            os.makedirs(f"{root}/{directory}", exist_ok=True)
        shutil.copy("/bin/busybox", f"{root}/bin/busybox")
        for applet in APPLETS:
            os.symlink("busybox", f"{root}/bin/{applet}")
        spec = default_spec("test", name)
        spec["process"].update(args=args, cwd="/", terminal=False)
        spec["root"] = {"path": "rootfs"}
        spec["linux"]["cgroupsPath"] = f"/{self.tag}/{name}"
        if change:
            change(spec)
        with open(f"{bundle}/config.json", "w") as file:
            json.dump(spec, file)
        return bundle

    def request(self, name, bundle):
        return ShimStart("test", name, bundle, f"{self.base}/events.sock", f"{self.base}/{name}.sock", DRIVER)

    async def task(self, name, *args, change=None):
        bundle = self.bundle(name, list(args), change)
        task = Task(self, name, bundle)
        task.pid = await self.zygote.start(self.request(name, bundle))
        task.client = await Client.connect(f"{self.base}/{name}.sock")
        self.tasks.append(task)
        return task

    def fifo(self):
        self.fifos += 1
        path = f"{self.base}/fifo{self.fifos}"
        os.mkfifo(path, 0o600)
        return path

    async def close(self):
        for task in self.tasks:
            await task.gone()
        await self.server.shutdown(grace=0.1)
        self.zygote.close()
        unmount_recursive(self.base)
        shutil.rmtree(self.base)
        for root in os.listdir("/sys/fs/cgroup"):
            with contextlib.suppress(OSError):
                os.rmdir(f"/sys/fs/cgroup/{root}/{self.tag}")


@pytest.fixture
def lab(request):
    """Runs the coroutine it is called with, in a lab of its own."""
    if os.geteuid() != 0 or not shutil.which("runc") or not os.path.exists("/bin/busybox"):
        if os.environ.get("CI"):
            pytest.fail("shims need root, runc and busybox-static")
        pytest.skip("needs root, runc and busybox-static")

    async def session(body):
        base = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
        lab = Lab(base)
        try:
            await lab.open()
            await body(lab)
        finally:
            await lab.close()

    def run(body):
        asyncio.run(session(body))

    return run
