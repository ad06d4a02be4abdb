from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.api.cgroups.v1 import metrics_pb2 as v1
from pycontainerd.api.cgroups.v2 import metrics_pb2 as v2
from pycontainerd.api.runtime.bootstrap.v1.bootstrap_pb2 import BootstrapParams
from pycontainerd.api.types.runc.options.oci_pb2 import Options
from pycontainerd.api.types.runtimeoptions.v1.api_pb2 import Options as GenericOptions
from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.shim import cgroup, stats
from pycontainerd.shim.bundle import exec_spec
from pycontainerd.shim.main import bootstrap, group, main, parse, socket_path
from pycontainerd.shim.messages import RUNC_OPTIONS
from pycontainerd.shim.nursery import load_driver
from pycontainerd.shim.processes import shares_pids
from pycontainerd.shim.runc import default_root, parse_options
from pycontainerd.shim.runtime_log import last_error, read_error


def test_flags_are_taken_as_go_takes_them():
    found = parse(["-namespace", "ns", "--id=box", "-address=/run/x.sock", "-debug", "-publish-binary", "", "start"])
    assert found.action == "start"
    assert found.values == {"namespace": "ns", "id": "box", "address": "/run/x.sock", "publish-binary": ""}
    assert found.switches == {"debug"}
    assert parse(["-debug=false", "delete"]).switches == set()
    assert parse([]).action == ""


@pytest.mark.parametrize("argv", [["-nonsense"], ["-id"], ["--namespace"]])
def test_a_flag_that_is_unknown_or_lacks_its_value_is_refused(argv):
    with pytest.raises(InvalidArgument):
        parse(argv)


def test_the_executable_says_what_is_wrong_with_its_arguments(capsys):
    assert main(["-namespace", "ns", "-id", "box", "dance"]) == 1
    assert "unknown action 'dance'" in capsys.readouterr().err
    assert main(["-namespace", "../x", "-id", "box", "start"]) == 1
    assert "namespace" in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    assert main(["-v"]) == 0
    assert "Version:" in capsys.readouterr().out


def test_a_bootstrap_message_is_told_from_the_options_of_older_daemons():
    message = BootstrapParams(instance_id="box", containerd_ttrpc_address="/run/t.sock")
    assert bootstrap(message.SerializeToString(), "box")["containerd_ttrpc_address"] == "/run/t.sock"
    assert bootstrap(b"", "box") is None
    assert bootstrap(b"\xff\xff", "box") is None
    assert bootstrap(b"\n\x12containerd.runc.v1.Options", "box") is None


def test_containers_of_a_pod_share_a_socket(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"annotations": {"io.kubernetes.cri.sandbox-id": "pod"}}))
    assert group(str(tmp_path)) == "pod"
    (tmp_path / "config.json").write_text("{}")
    assert group(str(tmp_path)) == ""
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(InvalidArgument):
        group(str(tmp_path))
    assert socket_path("/s", "/a", "n", "x") != socket_path("/s", "/a", "n", "y")


def test_the_last_error_of_a_runtime_is_found():
    lines = [
        {"level": "error", "msg": "first"},
        {"level": "warning", "msg": "careful"},
        {"level": "error", "msg": " exec: no such file \n"},
        {"level": "info", "msg": "done"},
    ]
    text = "\n".join(["not json", *map(json.dumps, lines), "[]", "{}"])
    assert last_error(text) == "exec: no such file"
    assert last_error("") == ""


def test_only_errors_after_the_beginning_count(tmp_path):
    log = tmp_path / "log.json"
    log.write_text(json.dumps({"level": "error", "msg": "old"}) + "\n")
    begin = log.stat().st_size
    assert read_error(str(log), begin) == ""
    assert read_error(str(log)) == "old"
    assert read_error(str(tmp_path / "none")) == ""


@settings(max_examples=100)
@given(st.text())
def test_any_log_is_read(text):
    assert isinstance(last_error(text), str)


def test_options_of_runc_are_read_in_both_forms():
    nothing = RUNC_OPTIONS.decode(b"")
    assert parse_options("", b"") == nothing
    given = Options(binary_name="crun", root="/r", systemd_cgroup=True).SerializeToString()
    options = {**nothing, "binary_name": "crun", "root": "/r", "systemd_cgroup": True}
    assert parse_options("containerd.runc.v1.Options", given) == options
    assert parse_options("type.googleapis.com/containerd.runc.v1.Options", b"") == nothing
    generic = GenericOptions(config_body=b'BinaryName = "crun"\nRoot = "/r"\nSystemdCgroup = true')
    assert parse_options("runtimeoptions.v1.Options", generic.SerializeToString()) == options


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("some.other.Options", b""),
        ("containerd.runc.v1.Options", b"\xff"),
        ("runtimeoptions.v1.Options", GenericOptions(config_body=b"= =").SerializeToString()),
        ("runtimeoptions.v1.Options", GenericOptions(config_body=b"Root = 5").SerializeToString()),
        ("runtimeoptions.v1.Options", GenericOptions(config_path="/no/such/file").SerializeToString()),
    ],
)
def test_options_that_cannot_be_read_are_refused(url, value):
    with pytest.raises(InvalidArgument):
        parse_options(url, value)


def test_the_runtime_keeps_its_state_beside_the_bundles():
    assert default_root("/run/containerd/io.containerd.runtime.v2.task/ns/box") == "/run/containerd/runc"
    assert default_root("/tmp/x/io.containerd.runtime.v2.task/ns/box") == "/tmp/x/runc"
    assert default_root("/somewhere/else") == "/run/containerd/runc"


def test_a_driver_that_is_not_there_is_named():
    with pytest.raises(NotFound, match="no_such_module"):
        load_driver("no_such_module:driver")
    with pytest.raises(NotFound, match="nothing"):
        load_driver("json:nothing")
    with pytest.raises(InvalidArgument):
        load_driver("json")


def test_a_spec_without_a_pid_namespace_of_its_own_shares_pids():
    assert shares_pids({})
    assert shares_pids({"linux": {"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}]}})
    assert not shares_pids({"linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}})
    assert shares_pids({"linux": {"namespaces": [3, None]}})


def test_the_process_of_an_exec_gets_the_terminal_that_the_client_wants():
    assert json.loads(exec_spec(b'{"args": ["x"], "terminal": true}', terminal=False)) == {
        "args": ["x"],
        "terminal": False,
    }
    for junk in (b"", b"[]", b"\xff"):
        with pytest.raises(InvalidArgument):
            exec_spec(junk, terminal=False)


def test_a_cgroup_is_found_in_both_hierarchies():
    text = "9:name=systemd:/\n5:cpu,cpuacct:/a/b\n4:memory:/a:b\n0::/u\n"
    assert cgroup.parse(text, unified=True) == {"unified": "/sys/fs/cgroup/u"}
    assert cgroup.parse(text, unified=False) == {
        "cpu": "/sys/fs/cgroup/cpu/a/b",
        "cpuacct": "/sys/fs/cgroup/cpuacct/a/b",
        "memory": "/sys/fs/cgroup/memory/a:b",
    }


def test_a_shim_does_not_join_a_cgroup_outside_the_hierarchy():
    with pytest.raises(InvalidArgument):
        cgroup.join("../../etc")


def test_numbers_of_cgroup_v1_are_read(tmp_path):
    (tmp_path / "pids.current").write_text("3\n")
    (tmp_path / "pids.max").write_text("max\n")
    (tmp_path / "memory.stat").write_text("cache 5\npgfault 7\ntotal_pgfault 8\nhierarchical_memsw_limit 9\nnew 1\n")
    (tmp_path / "memory.usage_in_bytes").write_text("11\n")
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (tmp_path / "blkio.throttle.io_service_bytes_recursive").write_text("8:0 Read 12\n8:0 Write 13\nTotal 25\n")
    (tmp_path / "cpuacct.usage_percpu").write_text("1 2 \n")
    message, fields = stats.read(dict.fromkeys(("pids", "memory", "blkio", "cpuacct"), str(tmp_path)))
    found = v1.Metrics.FromString(message.encode(fields))
    assert (found.pids.current, found.pids.limit) == (3, 0)
    memory = found.memory
    assert (memory.cache, memory.pg_fault, memory.total_pg_fault, memory.hierarchical_swap_limit) == (5, 7, 8, 9)
    assert memory.usage.usage == 11
    assert found.memory_oom_control.oom_kill == 2
    assert [(e.op, e.major, e.value) for e in found.blkio.io_service_bytes_recursive] == [
        ("Read", 8, 12),
        ("Write", 8, 13),
    ]
    assert list(found.cpu.usage.per_cpu) == [1, 2]


def test_numbers_of_cgroup_v2_are_read(tmp_path):
    (tmp_path / "memory.stat").write_text("anon 5\nfile 6\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.events").write_text("low 0\noom_kill 4\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 10\nnr_bursts 2\n")
    (tmp_path / "io.stat").write_text("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5\n\n8:0\n".replace("\n\n", "\n"))
    (tmp_path / "cpu.pressure").write_text("some avg10=1.5 avg60=0.00 avg300=0.25 total=77\njunk\n")
    message, fields = stats.read({"unified": str(tmp_path)})
    found = v2.Metrics.FromString(message.encode(fields))
    assert (found.memory.anon, found.memory.usage_limit, found.memory_events.oom_kill) == (5, stats.MAX, 4)
    assert (found.cpu.usage_usec, found.cpu.nr_bursts) == (10, 2)
    assert (found.io.usage[0].minor, found.io.usage[0].wios) == (16, 4)
    assert (found.cpu.psi.some.avg10, found.cpu.psi.some.total) == (1.5, 77)


@settings(max_examples=100)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=200))
def test_any_content_of_a_cgroup_file_gives_numbers(text):
    assert all(0 <= value <= stats.MAX for value in stats.table(text).values())
    assert 0 <= stats.number(text) <= stats.MAX
