"""Real installed distributions for the kernel to find, in a group of entry points that no daemon looks at."""

from __future__ import annotations

from functools import partial

from pycontainerd.testing import packages

GROUP = "pycontainerd.test-plugins"

PLUGIN = """
from pathlib import Path
from pycontainerd.kernel import Registration, Skip
Path({trace!r}).touch()
def init(ctx):
    return {id!r}
registration = Registration(type={type!r}, id={id!r}, init=init)
"""

install = partial(packages.install, group=GROUP)
