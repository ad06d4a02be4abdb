"""A container's numbers: the files of its cgroup as io.containerd.cgroups.v1.Metrics or v2. What is missing stays zero."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.message import Message

from pycontainerd.api.cgroups.v1 import metrics_pb2 as v1
from pycontainerd.api.cgroups.v2 import metrics_pb2 as v2

from .cgroup import Cgroup

MAX = (1 << 64) - 1
_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # nanoseconds
_LIMIT = 1 << 20

# The kernel's names where the messages' differ.
_V1_MEMORY = {
    "pgpgin": "pg_pg_in",
    "pgpgout": "pg_pg_out",
    "pgfault": "pg_fault",
    "pgmajfault": "pg_maj_fault",
    "hierarchical_memsw_limit": "hierarchical_swap_limit",
}
_V1_MEMORY |= {f"total_{name}": f"total_{field}" for name, field in _V1_MEMORY.items() if name.startswith("pg")}
_V2_MEMORY = {
    "workingset_refault_file": "workingset_refault",
    "workingset_activate_file": "workingset_activate",
}
_V1_BLKIO = {
    "io_service_bytes_recursive": ("bfq.io_service_bytes_recursive", "throttle.io_service_bytes_recursive"),
    "io_serviced_recursive": ("bfq.io_serviced_recursive", "throttle.io_serviced_recursive"),
    "io_queued_recursive": ("io_queued_recursive",),
    "io_service_time_recursive": ("io_service_time_recursive",),
    "io_wait_time_recursive": ("io_wait_time_recursive",),
    "io_merged_recursive": ("io_merged_recursive",),
    "io_time_recursive": ("time_recursive",),
    "sectors_recursive": ("sectors_recursive",),
}


def read(cgroup: Cgroup) -> Message:
    """The metrics of ``cgroup``."""
    return _unified(cgroup.unified) if cgroup.unified else _by_controller(cgroup.controllers)


def text_of(directory: str, name: str) -> str:
    """A file of a cgroup, empty where there is none."""
    try:
        with open(f"{directory}/{name}", encoding="ascii", errors="replace") as file:
            return file.read(_LIMIT)
    except OSError:
        return ""


def number(text: str) -> int:
    """A number; "max" is the largest there is, and what is none is 0."""
    word = text.strip()
    if word == "max":
        return MAX
    return min(int(word), MAX) if word.isascii() and word.isdigit() else 0


def table(text: str) -> Mapping[str, int]:
    """Lines of a name and a number."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found[name] = number(value)
    return found


def fill(message: Message, values: Mapping[str, int], names: Mapping[str, str]) -> None:
    """Set the fields that ``values`` has numbers for; ``names`` translates the kernel's."""
    known = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        field = names.get(name, name)
        if field in known and known[field].message_type is None:
            setattr(message, field, value)


def _by_controller(controllers: Mapping[str, str]) -> v1.Metrics:
    metrics = v1.Metrics()
    if directory := controllers.get("pids"):
        metrics.pids.current = number(text_of(directory, "pids.current"))
        limit = number(text_of(directory, "pids.max"))
        metrics.pids.limit = 0 if limit == MAX else limit
    if directory := controllers.get("cpuacct"):
        _cpu_usage(directory, metrics.cpu.usage)
    if directory := controllers.get("cpu"):
        throttled = table(text_of(directory, "cpu.stat"))
        metrics.cpu.throttling.periods = throttled.get("nr_periods", 0)
        metrics.cpu.throttling.throttled_periods = throttled.get("nr_throttled", 0)
        metrics.cpu.throttling.throttled_time = throttled.get("throttled_time", 0)
    if directory := controllers.get("memory"):
        _memory(directory, metrics)
    if directory := controllers.get("blkio"):
        for field, names in _V1_BLKIO.items():
            getattr(metrics.blkio, field).extend(_blkio(directory, names))
    if directory := controllers.get("hugetlb"):
        metrics.hugetlb.extend(_hugetlb(directory))
    return metrics


def _cpu_usage(directory: str, usage: v1.CPUUsage) -> None:
    usage.total = number(text_of(directory, "cpuacct.usage"))
    ticks = table(text_of(directory, "cpuacct.stat"))
    usage.user = ticks.get("user", 0) * _TICK
    usage.kernel = ticks.get("system", 0) * _TICK
    usage.per_cpu.extend(number(word) for word in text_of(directory, "cpuacct.usage_percpu").split())


def _memory(directory: str, metrics: v1.Metrics) -> None:
    fill(metrics.memory, table(text_of(directory, "memory.stat")), _V1_MEMORY)
    for field, prefix in (
        ("usage", "memory"),
        ("swap", "memory.memsw"),
        ("kernel", "memory.kmem"),
        ("kernel_tcp", "memory.kmem.tcp"),
    ):
        entry = getattr(metrics.memory, field)
        entry.usage = number(text_of(directory, f"{prefix}.usage_in_bytes"))
        entry.limit = number(text_of(directory, f"{prefix}.limit_in_bytes"))
        entry.max = number(text_of(directory, f"{prefix}.max_usage_in_bytes"))
        entry.failcnt = number(text_of(directory, f"{prefix}.failcnt"))
    fill(metrics.memory_oom_control, table(text_of(directory, "memory.oom_control")), {})


def _blkio(directory: str, names: Sequence[str]) -> Iterator[v1.BlkIOEntry]:
    """The entries of the first of the files ``blkio.NAME`` that has some: ``MAJOR:MINOR [OP] VALUE``."""
    for name in names:
        found = False
        for line in text_of(directory, f"blkio.{name}").splitlines():
            words = line.split()
            major, separator, minor = words[0].partition(":") if words else ("", "", "")
            if separator and len(words) in (2, 3):
                found = True
                operation = words[1] if len(words) == 3 else ""
                yield v1.BlkIOEntry(op=operation, major=number(major), minor=number(minor), value=number(words[-1]))
        if found:
            return


def _hugetlb(directory: str) -> Iterator[v1.HugetlbStat]:
    for size in _huge_pages(directory, ".limit_in_bytes"):
        yield v1.HugetlbStat(
            pagesize=size,
            usage=number(text_of(directory, f"hugetlb.{size}.usage_in_bytes")),
            max=number(text_of(directory, f"hugetlb.{size}.max_usage_in_bytes")),
            failcnt=number(text_of(directory, f"hugetlb.{size}.failcnt")),
        )


def _huge_pages(directory: str, suffix: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted(
        name.removeprefix("hugetlb.").removesuffix(suffix)
        for name in names
        if name.startswith("hugetlb.") and name.endswith(suffix) and "rsvd" not in name
    )


def _unified(directory: str) -> v2.Metrics:
    metrics = v2.Metrics()
    metrics.pids.current = number(text_of(directory, "pids.current"))
    limit = number(text_of(directory, "pids.max"))
    metrics.pids.limit = 0 if limit == MAX else limit
    fill(metrics.cpu, table(text_of(directory, "cpu.stat")), {})
    _pressure(directory, "cpu.pressure", metrics.cpu.psi)
    fill(metrics.memory, table(text_of(directory, "memory.stat")), _V2_MEMORY)
    for field, name in (
        ("usage", "memory.current"),
        ("usage_limit", "memory.max"),
        ("max_usage", "memory.peak"),
        ("swap_usage", "memory.swap.current"),
        ("swap_limit", "memory.swap.max"),
        ("swap_max_usage", "memory.swap.peak"),
    ):
        setattr(metrics.memory, field, number(text_of(directory, name)))
    _pressure(directory, "memory.pressure", metrics.memory.psi)
    fill(metrics.memory_events, table(text_of(directory, "memory.events")), {})
    metrics.io.usage.extend(_io(text_of(directory, "io.stat")))
    _pressure(directory, "io.pressure", metrics.io.psi)
    for size in _huge_pages(directory, ".max"):
        metrics.hugetlb.append(
            v2.HugeTlbStat(
                pagesize=size,
                current=number(text_of(directory, f"hugetlb.{size}.current")),
                max=number(text_of(directory, f"hugetlb.{size}.max")),
                failcnt=table(text_of(directory, f"hugetlb.{size}.events")).get("max", 0),
            )
        )
    return metrics


def _io(text: str) -> Iterator[v2.IOEntry]:
    for line in text.splitlines():
        device, *pairs = line.split()
        major, separator, minor = device.partition(":")
        if separator:
            entry = v2.IOEntry(major=number(major), minor=number(minor))
            values = dict(pair.partition("=")[::2] for pair in pairs)
            fill(entry, {name: number(value) for name, value in values.items() if name not in ("major", "minor")}, {})
            yield entry


def _pressure(directory: str, name: str, stats: v2.PSIStats) -> None:
    for line in text_of(directory, name).splitlines():
        kind, *pairs = line.split()
        if kind not in ("some", "full"):
            continue
        values = dict(pair.partition("=")[::2] for pair in pairs)
        data = getattr(stats, kind)
        try:
            data.avg10, data.avg60, data.avg300 = (float(values[f"avg{span}"]) for span in (10, 60, 300))
            data.total = int(values["total"])
        except (KeyError, ValueError):
            continue
