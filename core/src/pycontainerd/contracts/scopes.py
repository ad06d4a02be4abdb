"""How a back end gets to know in whose name it is called, if it wants to."""

from __future__ import annotations

from typing import TypeVar

from .types import Scope

T = TypeVar("T")


def in_scope(backend: T, scope: Scope) -> T:
    """``backend`` for calls in the name of ``scope``.

    Back ends know no namespaces. One that passes the caller's on, as those in other processes do, has the method
    ``in_scope(scope)``, which returns the same back end for it.
    """
    narrow = getattr(backend, "in_scope", None)
    if narrow is None:
        return backend
    found: T = narrow(scope)
    return found
