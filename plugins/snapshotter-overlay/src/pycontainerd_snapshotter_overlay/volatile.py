"""The mark that overlayfs leaves when it was mounted with ``volatile``: the upper directory was not synced.

The kernel refuses to mount with a marked upper directory ever again. That is right after a crash, for its files may be torn;
without one they are whole, and a container could not be started a second time.
"""

from __future__ import annotations

import os

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.sys import libc
from pycontainerd.sys.tree import remove_at

_MARK = os.path.join("work", "incompat", "volatile")


def clear(work: str) -> None:
    """Take the mark off the work directory ``work`` if the machine has been up since it was made.

    :raises FailedPrecondition: it has not.
    """
    mark = os.path.join(work, _MARK)
    try:
        made = os.stat(mark).st_ctime
    except FileNotFoundError:
        return
    if made < _boot_time():
        raise FailedPrecondition(
            f"the snapshot at {os.path.dirname(work)} was mounted volatile when the machine went down: files may be torn",
            hint=f"remove the snapshot, or take it as it is: rm -r {mark}",
        )
    remove_at(libc.AT_FDCWD, mark)


def _boot_time() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        return next(float(line.split()[1]) for line in file if line.startswith("btime "))
