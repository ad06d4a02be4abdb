"""The options of containers that ``run``, ``containers create`` and ``containers start`` share, and their meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click

from pycontainerd.api import anys
from pycontainerd.client.launch import DEFAULT_RUNTIME, Plan
from pycontainerd.contracts.errors import InvalidArgument, NotImplemented
from pycontainerd.contracts.platforms import parse
from pycontainerd.contracts.types import AnyValue
from pycontainerd.oci import edits
from pycontainerd.oci.devices import device, host_devices
from pycontainerd.oci.spec import parse as parse_spec

from .context import parse_labels

_MANY = {"multiple": True}
_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--runtime",), {"default": DEFAULT_RUNTIME, "show_default": True, "help": "Runtime name"}),
    (("--runc-binary",), {"default": "", "help": "Another runc"}),
    (("--runc-root",), {"default": "", "help": "Root directory of runc"}),
    (("--runc-systemd-cgroup",), {"is_flag": True, "help": "Have systemd make the cgroup"}),
    (("--snapshotter",), {"default": "", "envvar": "CONTAINERD_SNAPSHOTTER", "help": "Default: overlayfs"}),
    (("--snapshotter-label", "snapshotter_labels"), {**_MANY, "help": "Label the snapshot KEY=VALUE"}),
    (("--config", "-c"), {"default": "", "help": "Take the whole runtime spec from this file"}),
    (("--rootfs",), {"is_flag": True, "help": "IMAGE is a directory, the root file system itself"}),
    (("--platform",), {"default": "", "help": "Take the image of this platform"}),
    (("--cwd",), {"default": "", "help": "Working directory"}),
    (("--env", "-e"), {**_MANY, "help": "Set a variable NAME=VALUE"}),
    (("--env-file",), {"default": "", "help": "A file with variables, one per line"}),
    (("--label", "labels"), {**_MANY, "help": "Label the container KEY=VALUE"}),
    (("--annotation", "annotations"), {**_MANY, "help": "Annotate the spec KEY=VALUE"}),
    (("--mount", "mounts"), {**_MANY, "help": "type=bind,src=/tmp,dst=/host,options=rbind:ro"}),
    (("--net-host",), {"is_flag": True, "help": "Share the host's network"}),
    (("--privileged",), {"is_flag": True, "help": "All capabilities and devices"}),
    (("--privileged-without-host-devices",), {"is_flag": True, "help": "With --privileged: not the host's devices"}),
    (("--read-only",), {"is_flag": True, "help": "Root file system read-only"}),
    (("--tty", "-t"), {"is_flag": True, "help": "Give it a terminal"}),
    (("--with-ns", "with_ns"), {**_MANY, "help": "Join a namespace: TYPE:PATH"}),
    (("--device", "devices"), {**_MANY, "help": "Give it a device of the host"}),
    (("--allow-new-privs",), {"is_flag": True, "help": "Let set-uid programs work"}),
    (("--memory-limit",), {"type": int, "default": 0, "help": "In bytes"}),
    (("--pids-limit",), {"type": int, "default": 0, "help": "Most processes"}),
    (("--cpus",), {"type": float, "default": 0, "help": "Most CPUs, e.g. 1.5"}),
    (("--cpu-shares",), {"type": int, "default": 1024, "show_default": True}),
    (("--cpu-quota",), {"type": int, "default": -1}),
    (("--cpu-period",), {"type": int, "default": 0}),
    (("--cpuset-cpus",), {"default": ""}),
    (("--cpuset-mems",), {"default": ""}),
    (("--rlimit-nofile",), {"default": "", "help": "SOFT:HARD"}),
    (("--cgroup",), {"default": None, "help": "Path of its cgroup"}),
    (("--cap-add",), {**_MANY, "help": "Add a capability"}),
    (("--cap-drop",), {**_MANY, "help": "Drop a capability"}),
    (("--hostname",), {"default": ""}),
    (("--user", "-u"), {"default": "", "help": "USER[:GROUP], names or numbers"}),
    (("--sandbox",), {"default": ""}),
    (("--seccomp",), {"is_flag": True, "hidden": True}),
    (("--gpus",), {**_MANY, "hidden": True}),
    (("--cni",), {"is_flag": True, "hidden": True}),
)
_UNSUPPORTED = ("seccomp", "gpus", "cni")


def container_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; they arrive as keyword arguments for `plan`."""
    for names, attributes in reversed(_OPTIONS):
        function = click.option(*names, **attributes)(function)
    return function


def plan(id_: str, args: tuple[str, ...], **given: Any) -> Plan:
    """What the options ask for.

    :raises NotImplemented: one that this tool does not have yet.
    """
    for name in _UNSUPPORTED:
        if given[name]:
            raise NotImplemented(f"--{name} is not supported yet")
    return Plan(
        id=id_,
        args=args,
        user=given["user"],
        edits=list(_edits(given)),
        runtime=given["runtime"],
        runtime_options=_runtime_options(given),
        snapshotter=given["snapshotter"],
        snapshot_labels=parse_labels(given["snapshotter_labels"]),
        labels=parse_labels(given["labels"]),
        platform=parse(given["platform"]) if given["platform"] else None,
        spec=_spec_file(given["config"]) if given["config"] else None,
        sandbox=given["sandbox"],
    )


def _spec_file(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        return parse_spec(file.read())


def _runtime_options(given: dict[str, Any]) -> AnyValue | None:
    if not (given["runc_binary"] or given["runc_root"] or given["runc_systemd_cgroup"]):
        return None
    from pycontainerd.api.types.runc.options.oci_pb2 import Options

    options = Options(
        binary_name=given["runc_binary"], root=given["runc_root"], systemd_cgroup=given["runc_systemd_cgroup"]
    )
    return anys.to_record(anys.pack(options))


def _edits(given: dict[str, Any]) -> Iterator[edits.Edit]:
    if given["tty"]:
        yield edits.tty
    if given["env_file"]:
        yield edits.env(_env_file(given["env_file"]))
    if given["env"]:
        yield edits.env(given["env"])
    if given["cwd"]:
        yield edits.cwd(given["cwd"])
    if given["mounts"]:
        yield edits.mounts(edits.parse_mount(text) for text in given["mounts"])
    if given["hostname"]:
        yield edits.hostname(given["hostname"])
    if given["annotations"] or given["labels"]:
        # Runtimes do not see a container's labels, so they get them as annotations.
        yield edits.annotate({**parse_labels(given["labels"]), **parse_labels(given["annotations"])})
    yield from _isolation(given)
    yield from _limits(given)


def _env_file(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return [line for line in lines if line and not line.startswith("#")]


def _isolation(given: dict[str, Any]) -> Iterator[edits.Edit]:
    if given["privileged"]:
        yield edits.privileged
        if not given["privileged_without_host_devices"]:
            yield host_devices
    if given["allow_new_privs"]:
        yield edits.new_privileges
    if given["cap_add"]:
        yield edits.add_capabilities(given["cap_add"])
    if given["cap_drop"]:
        yield edits.drop_capabilities(given["cap_drop"])
    if given["read_only"]:
        yield edits.read_only
    if given["net_host"]:
        yield edits.host_network
    for text in given["with_ns"]:
        kind, colon, path = text.partition(":")
        if not colon:
            raise InvalidArgument(f"--with-ns {text!r} is not of the form TYPE:PATH")
        yield edits.join_namespace(kind, path)
    for path in given["devices"]:
        yield device(path)


def _limits(given: dict[str, Any]) -> Iterator[edits.Edit]:
    if given["cpus"] and given["cpu_quota"] >= 0:
        raise InvalidArgument("--cpus and --cpu-quota exclude each other")
    yield edits.cpu_shares(given["cpu_shares"])
    if given["cpus"]:
        yield edits.cpus(given["cpus"])
    if given["cpu_quota"] >= 0:
        yield edits.cpu_quota(given["cpu_quota"], given["cpu_period"])
    if given["cpuset_cpus"] or given["cpuset_mems"]:
        yield edits.cpuset(given["cpuset_cpus"], given["cpuset_mems"])
    if given["memory_limit"]:
        yield edits.memory_limit(given["memory_limit"])
    if given["pids_limit"]:
        yield edits.pids_limit(given["pids_limit"])
    if given["rlimit_nofile"]:
        soft, colon, hard = given["rlimit_nofile"].partition(":")
        if not soft.isdigit() or not (hard if colon else soft).isdigit():
            raise InvalidArgument(f"--rlimit-nofile {given['rlimit_nofile']!r} is not of the form SOFT:HARD")
        yield edits.rlimit("RLIMIT_NOFILE", int(soft), int(hard or soft))
    if given["cgroup"] is not None:
        yield edits.cgroup(given["cgroup"])


__all__ = ["container_options", "plan"]
