"""The microkernel: finds plugins, orders them, starts and stops them, and can always say why one is not running.

It knows nothing of containers and imports nothing else of pycontainerd.
"""

from .context import Context, Daemon, Logger, Plugins
from .errors import CycleError, DuplicatePluginError, KernelError, Later, RegistrationError, Skip
from .kernel import Kernel
from .registration import Registration
from .report import Report, Row, State

__all__ = [
    "Context",
    "CycleError",
    "Daemon",
    "DuplicatePluginError",
    "Kernel",
    "KernelError",
    "Later",
    "Logger",
    "Plugins",
    "Registration",
    "RegistrationError",
    "Report",
    "Row",
    "Skip",
    "State",
]
