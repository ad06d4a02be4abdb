# ruff: noqa: ASYNC221, ASYNC230, ASYNC240
from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.anys import pack, unpack
from pycontainerd.api.cgroups.v1 import metrics_pb2 as _v1  # noqa: F401 - for unpack
from pycontainerd.api.cgroups.v2 import metrics_pb2 as _v2  # noqa: F401
from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.api.types.mount_pb2 import Mount
from pycontainerd.api.types.runc.options.oci_pb2 import Options, ProcessDetails
from pycontainerd.api.types.task.task_pb2 import Status
from pycontainerd.contracts.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    NotImplemented,
)
from pycontainerd.shim.zygote import ShimStart
from pycontainerd.sys.mountinfo import mounts_under

FOREVER = ("/bin/sh", "-c", "while :; do sleep 1000; done")


def fifo_text(path):
    """Everything that comes out of a FIFO, which is open for reading from now on: as a client opens it before it asks."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read():
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        text = b""
        try:
            # A FIFO hangs up only after a writer has come and gone.
            while poll.poll(60_000) and (data := os.read(fd, 1 << 16)):
                text += data
        finally:
            os.close(fd)
        return text

    return asyncio.to_thread(read)


def process(*args, **fields):
    spec = {"args": list(args), "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"], **fields}
    return Any(type_url="types.containerd.io/opencontainers/runtime-spec/1/Process", value=json.dumps(spec).encode())


def test_a_container_lives_and_its_events_tell_of_it_in_order(lab):
    async def body(lab):
        task = await lab.task("life", *FOREVER)
        created = await task.create()
        state = await task.call("State")
        assert (state.status, state.pid, state.bundle) == (Status.CREATED, created.pid, task.bundle)
        assert (await task.call("Start")).pid == created.pid
        assert (await task.call("State")).status == Status.RUNNING
        await task.call("Kill", signal=15)
        await task.call("Kill", signal=9)
        assert await task.ended() == 137
        state = await task.call("State")
        assert state.status == Status.STOPPED
        assert state.exit_status == 137
        assert state.exited_at.seconds > 1_500_000_000
        deleted = await task.call("Delete")
        assert (deleted.pid, deleted.exit_status) == (created.pid, 137)
        with pytest.raises(NotFound):
            await task.call("State")
        await task.call("Shutdown")
        await task.client.wait_closed()
        assert not os.path.exists(f"{lab.base}/life.sock")
        await lab.events.until("delete")
        assert lab.events.topics() == ["create", "start", "exit", "delete"]

    lab(body)


def test_the_version_2_service_answers_the_same(lab):
    async def body(lab):
        task = await lab.task("old", "/bin/true")
        task.service = "containerd.task.v2.Task"
        await task.run()
        assert await task.ended() == 0

    lab(body)


def test_a_process_that_exits_at_once_is_seen_with_its_status_and_after_its_start(lab):
    async def body(lab):
        for number in range(3):
            task = await lab.task(f"quick{number}", "/bin/sh", "-c", "exit 7")
            await task.run()
            assert await task.ended() == 7
        await asyncio.gather(*(task.call("Delete") for task in lab.tasks))
        await lab.events.until("delete")
        topics = lab.events.topics()
        assert topics.index("start") < topics.index("exit")
        assert [event.exit_status for topic, event in lab.events.seen if topic == "/tasks/exit"] == [7, 7, 7]

    lab(body)


def test_a_megabyte_of_output_arrives_whole(lab):
    async def body(lab):
        out, err = lab.fifo(), lab.fifo()
        script = "dd if=/dev/zero bs=65536 count=16 2>/dev/null | tr '\\0' x; echo end >&2"
        task = await lab.task("loud", "/bin/sh", "-c", script)
        reading = asyncio.gather(fifo_text(out), fifo_text(err))
        await task.run(stdout=out, stderr=err)
        assert await task.ended() == 0
        await task.call("Delete")
        assert await reading == [b"x" * (1 << 20), b"end\n"]

    lab(body)


def test_output_survives_a_client_that_goes_and_another_that_comes(lab):
    async def body(lab):
        out, stdin = lab.fifo(), lab.fifo()
        task = await lab.task("left", "/bin/cat")
        first = os.open(out, os.O_RDONLY | os.O_NONBLOCK)
        await task.run(stdout=out, stdin=stdin)
        os.close(first)
        assert (await task.call("State")).status == Status.RUNNING
        writer = os.open(stdin, os.O_WRONLY)
        os.write(writer, b"still here\n")
        os.close(writer)
        reading = asyncio.ensure_future(fifo_text(out))
        await task.call("CloseIO", stdin=True)
        assert await task.ended() == 0
        await task.call("Delete")
        assert await reading == b"still here\n"

    lab(body)


def test_output_goes_to_a_file_and_to_a_log_driver(lab):
    async def body(lab):
        path = f"{lab.base}/logs/out.log"
        task = await lab.task("filed", "/bin/sh", "-c", "echo one; echo two >&2")
        await task.run(stdout=f"file://{path}", stderr=f"file://{path}")
        await task.ended()
        await task.call("Delete")
        with open(path) as file:
            assert sorted(file.read().split()) == ["one", "two"]

        driver = f"{lab.base}/driver"
        with open(driver, "w") as file:
            file.write(
                f'#!/bin/sh\nexec 5>&-\n{{ echo "$CONTAINER_NAMESPACE/$CONTAINER_ID $1 $2"; cat <&3; }} >{lab.base}/driven\n'
            )
        os.chmod(driver, 0o755)
        task = await lab.task("driven", "/bin/echo", "to the driver")
        await task.run(stdout=f"binary://{driver}?key=value", stderr=f"binary://{driver}?key=value")
        await task.ended()
        await task.call("Delete")
        with open(f"{lab.base}/driven") as file:
            assert file.read() == "test/driven key value\nto the driver\n"

        task = await lab.task("undriven", "/bin/true")
        with pytest.raises(NotFound, match="nowhere"):
            await task.create(stdout="binary:///nowhere/driver")
        with pytest.raises(FailedPrecondition, match="before it was ready"):
            await task.create(stdout="binary-v2:///bin/false")
        with pytest.raises(InvalidArgument, match="scheme"):
            await task.create(stdout="http://example")

    lab(body)


def test_a_terminal_has_the_size_it_is_given_and_echoes(lab):
    async def body(lab):
        out, stdin = lab.fifo(), lab.fifo()

        def change(spec):
            spec["process"]["terminal"] = True

        task = await lab.task("tty", "/bin/sh", "-c", "read x; stty size; cat", change=change)
        reading = asyncio.ensure_future(fifo_text(out))
        await task.create(terminal=True, stdin=stdin, stdout=out)
        await task.call("ResizePty", width=91, height=37)
        await task.call("Start")
        writer = os.open(stdin, os.O_WRONLY)
        os.write(writer, b"go\n")
        os.close(writer)
        await asyncio.sleep(0.3)
        await task.call("CloseIO", stdin=True)
        assert await task.ended() == 0
        await task.call("Delete")
        text = await reading
        assert b"go\r\n" in text
        assert b"37 91" in text

    lab(body)


def test_execs_run_beside_the_first_process_and_end_before_it(lab):
    async def body(lab):
        task = await lab.task("host", *FOREVER)
        await task.run()
        out = lab.fifo()
        await task.call("Exec", exec_id="quick", spec=process("/bin/sh", "-c", "echo hi; exit 3"), stdout=out)
        with pytest.raises(AlreadyExists):
            await task.call("Exec", exec_id="quick", spec=process("/bin/true"))
        reading = asyncio.ensure_future(fifo_text(out))
        assert (await task.call("State", exec_id="quick")).status == Status.CREATED
        pid = (await task.call("Start", exec_id="quick")).pid
        assert await task.ended(exec_id="quick") == 3
        assert (await task.call("Delete", exec_id="quick")).pid == pid
        assert await reading == b"hi\n"

        await task.call("Exec", exec_id="long", spec=process("/bin/sleep", "1000"))
        long = (await task.call("Start", exec_id="long")).pid
        infos = {item.pid: item.info for item in (await task.call("Pids")).processes}
        assert unpack(infos[long]) == ProcessDetails(exec_id="long")
        with pytest.raises(FailedPrecondition, match="running"):
            await task.call("Delete", exec_id="long")
        await task.call("Kill", signal=9)
        assert await task.ended() == 137
        assert await task.ended(exec_id="long") == 137
        with pytest.raises(FailedPrecondition):
            await task.call("Exec", exec_id="late", spec=process("/bin/true"))
        await task.call("Delete")
        await lab.events.until("delete")
        exits = [event.id for topic, event in lab.events.seen if topic == "/tasks/exit"]
        assert exits == ["quick", "long", "host"]
        topics = lab.events.topics()
        assert topics[:5] == ["create", "start", "exec-added", "exec-started", "exit"]

    lab(body)


def test_an_exec_that_cannot_start_says_why_and_can_be_deleted(lab):
    async def body(lab):
        task = await lab.task("bad", *FOREVER)
        await task.run()
        await task.call("Exec", exec_id="none", spec=process("/bin/nothing"))
        with pytest.raises(Internal, match="no such file"):
            await task.call("Start", exec_id="none")
        assert (await task.call("State", exec_id="none")).status == Status.STOPPED
        await task.call("Delete", exec_id="none")
        with pytest.raises(InvalidArgument):
            await task.call("Exec", exec_id="../up", spec=process("/bin/true"))
        with pytest.raises(InvalidArgument, match="JSON"):
            await task.call("Exec", exec_id="junk", spec=Any(value=b"{"))

    lab(body)


def test_processes_of_a_shared_pid_namespace_die_with_the_first(lab):
    async def body(lab):
        def change(spec):
            spec["linux"]["namespaces"] = [item for item in spec["linux"]["namespaces"] if item["type"] != "pid"]

        task = await lab.task("shared", *FOREVER, change=change)
        await task.run()
        await task.call("Exec", exec_id="other", spec=process("/bin/sleep", "1000"))
        await task.call("Start", exec_id="other")
        await task.call("Kill", signal=9)
        assert await task.ended() == 137
        assert await task.ended(exec_id="other") == 137
        await lab.events.until("exit", 2)
        assert [event.id for topic, event in lab.events.seen if topic == "/tasks/exit"] == ["other", "shared"]

    lab(body)


def test_a_container_is_paused_resumed_updated_and_measured(lab):
    async def body(lab):
        task = await lab.task("held", *FOREVER)
        await task.run()
        await task.call("Pause")
        assert (await task.call("State")).status == Status.PAUSED
        with pytest.raises(FailedPrecondition, match="paused"):
            await task.call("Exec", exec_id="no", spec=process("/bin/true"))
        await task.call("Resume")
        assert (await task.call("State")).status == Status.RUNNING
        with pytest.raises(FailedPrecondition):
            await task.call("Resume")
        limits = {"memory": {"limit": 64 << 20}, "pids": {"limit": 77}}
        await task.call("Update", resources=Any(value=json.dumps(limits).encode()))
        metrics = unpack((await task.call("Stats")).stats)
        assert metrics.pids.current >= 1
        assert metrics.pids.limit == 77
        if metrics.DESCRIPTOR.full_name.endswith("v1.Metrics"):
            assert metrics.memory.usage.limit == 64 << 20
            assert metrics.cpu.usage.total > 0
        else:
            assert metrics.memory.usage_limit == 64 << 20
            assert metrics.cpu.usage_usec > 0
        await lab.events.until("resumed")
        assert lab.events.topics()[-2:] == ["paused", "resumed"]
        with pytest.raises(NotImplemented, match="checkpoint"):
            await task.call("Checkpoint", path=lab.base)

    lab(body)


def test_running_out_of_memory_is_told(lab):
    async def body(lab):
        def change(spec):
            spec["linux"].setdefault("resources", {})["memory"] = {"limit": 16 << 20}

        script = "head -c 200000000 /dev/zero | tr '\\0' x | { x=$(cat); }"
        task = await lab.task("greedy", "/bin/sh", "-c", script, change=change)
        await task.run()
        await task.ended()
        assert (await lab.events.until("oom")).container_id == "greedy"

    lab(body)


def test_a_created_container_can_be_deleted_without_having_started(lab):
    async def body(lab):
        task = await lab.task("unborn", *FOREVER)
        await task.create()
        assert (await task.call("Delete")).exit_status == 137

    lab(body)


def test_a_failed_create_leaves_no_mount_and_says_what_the_runtime_said(lab):
    async def body(lab):
        task = await lab.task("broken", "/bin/does-not-exist")
        os.rename(f"{task.bundle}/rootfs", f"{lab.base}/image")
        mount = Mount(type="bind", source=f"{lab.base}/image", options=["rbind", "rw"])
        with pytest.raises(Internal, match="no such file or directory"):
            await task.create(rootfs=[mount])
        assert not mounts_under(f"{task.bundle}/rootfs")
        assert not os.path.exists(f"{task.bundle}/init.pid")
        with pytest.raises(NotFound):
            await task.call("State")
        listed = subprocess.run(
            ["runc", "--root", f"{lab.base}/runc/test", "list", "-q"], capture_output=True, text=True
        )
        assert listed.stdout.strip() == ""
        # The bundle can be used again.
        with open(f"{task.bundle}/config.json") as file:
            spec = json.load(file)
        spec["process"]["args"] = ["/bin/true"]
        with open(f"{task.bundle}/config.json", "w") as file:
            json.dump(spec, file)
        await task.run(rootfs=[mount])
        assert mounts_under(f"{task.bundle}/rootfs")
        assert await task.ended() == 0
        await task.call("Delete")
        assert not mounts_under(f"{task.bundle}/rootfs")

    lab(body)


def test_a_root_that_is_a_link_is_not_mounted_on(lab):
    async def body(lab):
        task = await lab.task("linked", "/bin/true")
        os.rename(f"{task.bundle}/rootfs", f"{lab.base}/image")
        os.mkdir(f"{lab.base}/victim")
        os.symlink(f"{lab.base}/victim", f"{task.bundle}/rootfs")
        with pytest.raises(InvalidArgument, match="not a directory"):
            await task.create(rootfs=[Mount(type="bind", source=f"{lab.base}/image", options=["rbind"])])
        assert not mounts_under(f"{lab.base}/victim")

    lab(body)


def test_missing_parts_are_named(lab):
    async def body(lab):
        task = await lab.task("lost", "/bin/true")
        with pytest.raises(NotFound, match="bundle"):
            await task.client.call(
                task.service, "Create", pb.CreateTaskRequest(id="lost", bundle=f"{lab.base}/no"), pb.CreateTaskResponse
            )
        with pytest.raises(FailedPrecondition, match=r"no-such-runc.*install runc"):
            await task.create(options=pack(Options(binary_name="no-such-runc")))
        with pytest.raises(InvalidArgument, match="options"):
            await task.create(options=Any(type_url="something.else", value=b"x"))
        with pytest.raises(NotFound):
            await task.call("Start")
        with pytest.raises(NotFound, match="bundle"):
            await lab.zygote.start(lab.request("nobundle", f"{lab.base}/no"))
        with pytest.raises(NotFound, match="no_such_package"):
            await lab.zygote.start(
                ShimStart("test", "x", task.bundle, "", f"{lab.base}/x.sock", "no_such_package:driver")
            )
        with pytest.raises(InvalidArgument):
            await lab.zygote.start(ShimStart("test", "x", task.bundle, "", f"{lab.base}/x.sock", "nonsense"))
        assert not os.path.exists(f"{lab.base}/x.sock")

    lab(body)


def test_a_shim_outlives_the_zygote_and_keeps_events_for_a_daemon_that_is_away(lab):
    async def body(lab):
        task = await lab.task("orphan", *FOREVER)
        await task.run()
        await lab.events.until("start")
        lab.zygote.close()
        await lab.server.shutdown(grace=0)
        os.unlink(f"{lab.base}/events.sock")
        await task.call("Kill", signal=9)
        assert await task.ended() == 137
        with open(f"/proc/{task.pid}/stat") as file:
            assert file.read().rpartition(")")[2].split()[1] == "1"
        lab.server = type(lab.server)([lab.events])
        await lab.open()
        assert (await lab.events.until("exit")).exit_status == 137
        # A zygote that died is replaced when it is needed.
        os.kill(await lab.zygote.start(lab.request("another", task.bundle)), 9)

    lab(body)


def test_a_shim_is_private_and_says_what_it_is(lab):
    async def body(lab):
        task = await lab.task("named", "/bin/true")
        assert (await task.call("Connect")).shim_pid == task.pid
        assert os.stat(f"{lab.base}/named.sock").st_mode & 0o777 == 0o600
        with open(f"/proc/{task.pid}/comm") as file:
            assert file.read() == "containerd-shim\n"
        with open(f"/proc/{task.pid}/cmdline") as file:
            assert file.read().startswith(f"containerd-shim -namespace test -id named -bundle {task.bundle}\0")
        assert os.readlink(f"/proc/{task.pid}/cwd") == task.bundle
        assert os.getsid(task.pid) == task.pid
        fds = os.listdir(f"/proc/{task.pid}/fd")
        links = [os.readlink(f"/proc/{task.pid}/fd/{fd}").partition(":")[0] for fd in fds]
        assert set(links) <= {"/dev/null", "socket", "anon_inode", "pipe"}
        assert links.count("pipe") == 2  # the ends of child processes wake the loop through it

    lab(body)


def test_a_second_container_can_share_the_shim_and_shutdown_waits_for_both(lab):
    async def body(lab):
        task = await lab.task("pod", *FOREVER)
        await task.run()
        bundle = lab.bundle("member", ["/bin/sleep", "1000"])
        await task.client.call(
            task.service, "Create", pb.CreateTaskRequest(id="member", bundle=bundle), pb.CreateTaskResponse
        )
        await task.call("Kill", signal=9)
        await task.ended()
        await task.call("Delete")
        await task.call("Shutdown")
        response = await task.client.call(task.service, "Delete", pb.DeleteRequest(id="member"), pb.DeleteResponse)
        assert response.exit_status == 137
        await task.client.call(task.service, "Shutdown", pb.ShutdownRequest(), Empty)
        await task.client.wait_closed()

    lab(body)
