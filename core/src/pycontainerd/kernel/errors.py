"""What can go wrong in the kernel, and the one outcome that is no error."""

from __future__ import annotations

from collections.abc import Sequence


class Skip(Exception):
    """Raised by a plugin's init: it cannot work here, and that is expected. The reason is shown to people."""

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{reason} ({hint})" if hint else reason)


class Later(Exception):
    """Raised by a plugin's init: what it needs outside this process is not there yet, a socket for instance.

    The plugin is ``blocked`` with this reason; the kernel calls init again until it succeeds, and then starts what
    waits for it.
    """

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class KernelError(Exception):
    """Base of the kernel's own errors."""


class RegistrationError(KernelError):
    """A registration that cannot be: a malformed type or id, or requirements that are not strings."""


class DuplicatePluginError(KernelError):
    """Two distributions register the same URI."""

    def __init__(self, uri: str, distributions: Sequence[str]) -> None:
        super().__init__(f"plugin {uri} is registered more than once, by {', '.join(distributions)}; uninstall one")
        self.uri = uri


class CycleError(KernelError):
    """Plugins that wait for each other in a circle; the message prints the whole circle."""

    def __init__(self, cycle: Sequence[str]) -> None:
        super().__init__("plugins require each other in a cycle: " + " -> ".join([*cycle, cycle[0]]))
        self.cycle = tuple(cycle)


class RequiredPluginError(KernelError):
    """A plugin in ``required_plugins`` is not ok; the message is the report's sentence for it."""
