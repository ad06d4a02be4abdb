"""A container's numbers: the files of its cgroup as io.containerd.cgroups.v1.Metrics or v2. What is missing stays zero."""

from __future__ import annotations

import os

from . import files, metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from .wire import Message

    Fields = dict[str, Any]

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


def read(directories: Mapping[str, str]) -> tuple[Message, Fields]:
    """The metrics of a cgroup (see `cgroup.of`): the type of message, and its fields."""
    if "unified" in directories:
        return metrics.V2, _unified(directories["unified"])
    return metrics.V1, _by_controller(directories)


def text_of(directory: str, name: str) -> str:
    """A file of a cgroup, empty where there is none."""
    try:
        return files.read_text(f"{directory}/{name}", _LIMIT)
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


def known(message: Message, values: Mapping[str, int], names: Mapping[str, str]) -> Fields:
    """Those of ``values`` that are numbers of ``message``; ``names`` translates the kernel's names."""
    renamed = {names.get(name, name): value for name, value in values.items()}
    return {field: value for field, value in renamed.items() if message.defaults.get(field) == 0}


def _by_controller(controllers: Mapping[str, str]) -> Fields:
    found: Fields = {}
    if directory := controllers.get("pids"):
        found["pids"] = _pids(directory)
    cpu: Fields = {}
    if directory := controllers.get("cpuacct"):
        cpu["usage"] = _cpu_usage(directory)
    if directory := controllers.get("cpu"):
        throttled = table(text_of(directory, "cpu.stat"))
        cpu["throttling"] = {
            "periods": throttled.get("nr_periods", 0),
            "throttled_periods": throttled.get("nr_throttled", 0),
            "throttled_time": throttled.get("throttled_time", 0),
        }
    if cpu:
        found["cpu"] = cpu
    if directory := controllers.get("memory"):
        found["memory"] = _memory(directory)
        control = table(text_of(directory, "memory.oom_control"))
        found["memory_oom_control"] = known(metrics.V1_OOM_CONTROL, control, {})
    if directory := controllers.get("blkio"):
        found["blkio"] = {field: list(_blkio(directory, names)) for field, names in _V1_BLKIO.items()}
    if directory := controllers.get("hugetlb"):
        found["hugetlb"] = list(_hugetlb(directory))
    return found


def _pids(directory: str) -> Fields:
    limit = number(text_of(directory, "pids.max"))
    return {"current": number(text_of(directory, "pids.current")), "limit": 0 if limit == MAX else limit}


def _cpu_usage(directory: str) -> Fields:
    ticks = table(text_of(directory, "cpuacct.stat"))
    return {
        "total": number(text_of(directory, "cpuacct.usage")),
        "user": ticks.get("user", 0) * _TICK,
        "kernel": ticks.get("system", 0) * _TICK,
        "per_cpu": [number(word) for word in text_of(directory, "cpuacct.usage_percpu").split()],
    }


def _memory(directory: str) -> Fields:
    found = known(metrics.V1_MEMORY, table(text_of(directory, "memory.stat")), _V1_MEMORY)
    for field, prefix in (
        ("usage", "memory"),
        ("swap", "memory.memsw"),
        ("kernel", "memory.kmem"),
        ("kernel_tcp", "memory.kmem.tcp"),
    ):
        found[field] = {
            "usage": number(text_of(directory, f"{prefix}.usage_in_bytes")),
            "limit": number(text_of(directory, f"{prefix}.limit_in_bytes")),
            "max": number(text_of(directory, f"{prefix}.max_usage_in_bytes")),
            "failcnt": number(text_of(directory, f"{prefix}.failcnt")),
        }
    return found


def _blkio(directory: str, names: Sequence[str]) -> Iterator[Fields]:
    """The entries of the first of the files ``blkio.NAME`` that has some: ``MAJOR:MINOR [OP] VALUE``."""
    for name in names:
        found = False
        for line in text_of(directory, f"blkio.{name}").splitlines():
            words = line.split()
            major, separator, minor = words[0].partition(":") if words else ("", "", "")
            if separator and len(words) in (2, 3):
                found = True
                operation = words[1] if len(words) == 3 else ""
                yield {"op": operation, "major": number(major), "minor": number(minor), "value": number(words[-1])}
        if found:
            return


def _hugetlb(directory: str) -> Iterator[Fields]:
    for size in _huge_pages(directory, ".limit_in_bytes"):
        yield {
            "pagesize": size,
            "usage": number(text_of(directory, f"hugetlb.{size}.usage_in_bytes")),
            "max": number(text_of(directory, f"hugetlb.{size}.max_usage_in_bytes")),
            "failcnt": number(text_of(directory, f"hugetlb.{size}.failcnt")),
        }


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


def _unified(directory: str) -> Fields:
    memory = known(metrics.V2_MEMORY, table(text_of(directory, "memory.stat")), _V2_MEMORY)
    for field, name in (
        ("usage", "memory.current"),
        ("usage_limit", "memory.max"),
        ("max_usage", "memory.peak"),
        ("swap_usage", "memory.swap.current"),
        ("swap_limit", "memory.swap.max"),
        ("swap_max_usage", "memory.swap.peak"),
    ):
        memory[field] = number(text_of(directory, name))
    memory["psi"] = _pressure(directory, "memory.pressure")
    cpu = known(metrics.V2_CPU, table(text_of(directory, "cpu.stat")), {})
    cpu["psi"] = _pressure(directory, "cpu.pressure")
    return {
        "pids": _pids(directory),
        "cpu": cpu,
        "memory": memory,
        "memory_events": known(metrics.V2_MEMORY_EVENTS, table(text_of(directory, "memory.events")), {}),
        "io": {"usage": list(_io(text_of(directory, "io.stat"))), "psi": _pressure(directory, "io.pressure")},
        "hugetlb": [
            {
                "pagesize": size,
                "current": number(text_of(directory, f"hugetlb.{size}.current")),
                "max": number(text_of(directory, f"hugetlb.{size}.max")),
                "failcnt": table(text_of(directory, f"hugetlb.{size}.events")).get("max", 0),
            }
            for size in _huge_pages(directory, ".max")
        ],
    }


def _io(text: str) -> Iterator[Fields]:
    for line in text.splitlines():
        device, *pairs = line.split() or [""]
        major, separator, minor = device.partition(":")
        if separator:
            values = {name: number(value) for name, _, value in (pair.partition("=") for pair in pairs)}
            entry = known(metrics.V2_IO_ENTRY, values, {})
            yield {**entry, "major": number(major), "minor": number(minor)}


def _pressure(directory: str, name: str) -> Fields | None:
    """The parts of a pressure file that are there."""
    found: Fields = {}
    for line in text_of(directory, name).splitlines():
        kind, *pairs = line.split() or [""]
        if kind not in ("some", "full"):
            continue
        values = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
        try:
            averages = {f"avg{span}": float(values[f"avg{span}"]) for span in (10, 60, 300)}
            found[kind] = {**averages, "total": int(values["total"])}
        except (KeyError, ValueError):
            continue
    return found or None
