"""The messages that a container's numbers are told in: io.containerd.cgroups.v1.Metrics and v2, as far as they are filled.

A test compares them with the .proto files.
"""

from __future__ import annotations

from .wire import DOUBLE, NUMBER, TEXT, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _numbers(names: str) -> dict[str, Any]:
    """Fields 1, 2, 3, … that are numbers."""
    return {name: (number, NUMBER) for number, name in enumerate(names.split(), 1)}


# -- version 1 ------------------------------------------------------------------------------------------------------

_V1 = "io.containerd.cgroups.v1."
_V1_HUGETLB = Message(f"{_V1}HugetlbStat", **_numbers("usage max failcnt"), pagesize=(4, TEXT))
_V1_PIDS = Message(f"{_V1}PidsStat", **_numbers("current limit"))
_V1_USAGE = Message(f"{_V1}CPUUsage", **_numbers("total kernel user"), per_cpu=(4, [NUMBER]))
_V1_THROTTLE = Message(f"{_V1}Throttle", **_numbers("periods throttled_periods throttled_time"))
_V1_CPU = Message(f"{_V1}CPUStat", usage=(1, _V1_USAGE), throttling=(2, _V1_THROTTLE))
_V1_ENTRY = Message(f"{_V1}MemoryEntry", **_numbers("limit usage max failcnt"))
V1_MEMORY = Message(
    f"{_V1}MemoryStat",
    **_numbers(
        "cache rss rss_huge mapped_file dirty writeback pg_pg_in pg_pg_out pg_fault pg_maj_fault inactive_anon active_anon"
        " inactive_file active_file unevictable hierarchical_memory_limit hierarchical_swap_limit total_cache total_rss"
        " total_rss_huge total_mapped_file total_dirty total_writeback total_pg_pg_in total_pg_pg_out total_pg_fault"
        " total_pg_maj_fault total_inactive_anon total_active_anon total_inactive_file total_active_file total_unevictable"
    ),
    usage=(33, _V1_ENTRY),
    swap=(34, _V1_ENTRY),
    kernel=(35, _V1_ENTRY),
    kernel_tcp=(36, _V1_ENTRY),
)
V1_OOM_CONTROL = Message(f"{_V1}MemoryOomControl", **_numbers("oom_kill_disable under_oom oom_kill"))
_V1_BLKIO_ENTRY = Message(
    f"{_V1}BlkIOEntry", op=(1, TEXT), device=(2, TEXT), major=(3, NUMBER), minor=(4, NUMBER), value=(5, NUMBER)
)
_V1_BLKIO = Message(
    f"{_V1}BlkIOStat",
    io_service_bytes_recursive=(1, [_V1_BLKIO_ENTRY]),
    io_serviced_recursive=(2, [_V1_BLKIO_ENTRY]),
    io_queued_recursive=(3, [_V1_BLKIO_ENTRY]),
    io_service_time_recursive=(4, [_V1_BLKIO_ENTRY]),
    io_wait_time_recursive=(5, [_V1_BLKIO_ENTRY]),
    io_merged_recursive=(6, [_V1_BLKIO_ENTRY]),
    io_time_recursive=(7, [_V1_BLKIO_ENTRY]),
    sectors_recursive=(8, [_V1_BLKIO_ENTRY]),
)
V1 = Message(
    f"{_V1}Metrics",
    hugetlb=(1, [_V1_HUGETLB]),
    pids=(2, _V1_PIDS),
    cpu=(3, _V1_CPU),
    memory=(4, V1_MEMORY),
    blkio=(5, _V1_BLKIO),
    memory_oom_control=(9, V1_OOM_CONTROL),
)

# -- version 2 ------------------------------------------------------------------------------------------------------

_V2 = "io.containerd.cgroups.v2."
_V2_PSI_DATA = Message(
    f"{_V2}PSIData", avg10=(1, DOUBLE), avg60=(2, DOUBLE), avg300=(3, DOUBLE), total=(4, NUMBER)
)  # fmt: skip
_V2_PSI = Message(f"{_V2}PSIStats", some=(1, _V2_PSI_DATA), full=(2, _V2_PSI_DATA))
_V2_PIDS = Message(f"{_V2}PidsStat", **_numbers("current limit"))
V2_CPU = Message(
    f"{_V2}CPUStat",
    **_numbers("usage_usec user_usec system_usec nr_periods nr_throttled throttled_usec"),
    psi=(7, _V2_PSI),
    nr_bursts=(8, NUMBER),
    burst_usec=(9, NUMBER),
)
V2_MEMORY = Message(
    f"{_V2}MemoryStat",
    **_numbers(
        "anon file kernel_stack slab sock shmem file_mapped file_dirty file_writeback anon_thp inactive_anon active_anon"
        " inactive_file active_file unevictable slab_reclaimable slab_unreclaimable pgfault pgmajfault workingset_refault"
        " workingset_activate workingset_nodereclaim pgrefill pgscan pgsteal pgactivate pgdeactivate pglazyfree pglazyfreed"
        " thp_fault_alloc thp_collapse_alloc usage usage_limit swap_usage swap_limit max_usage swap_max_usage"
    ),
    psi=(38, _V2_PSI),
)
V2_MEMORY_EVENTS = Message(f"{_V2}MemoryEvents", **_numbers("low high max oom oom_kill oom_group_kill"))
V2_IO_ENTRY = Message(f"{_V2}IOEntry", **_numbers("major minor rbytes wbytes rios wios"))
_V2_IO = Message(f"{_V2}IOStat", usage=(1, [V2_IO_ENTRY]), psi=(2, _V2_PSI))
_V2_HUGETLB = Message(
    f"{_V2}HugeTlbStat", current=(1, NUMBER), max=(2, NUMBER), pagesize=(3, TEXT), failcnt=(4, NUMBER)
)  # fmt: skip
V2 = Message(
    f"{_V2}Metrics",
    pids=(1, _V2_PIDS),
    cpu=(2, V2_CPU),
    memory=(4, V2_MEMORY),
    io=(6, _V2_IO),
    hugetlb=(7, [_V2_HUGETLB]),
    memory_events=(8, V2_MEMORY_EVENTS),
)
