"""Registration: io.containerd.hook.v1.acme."""

from __future__ import annotations

from typing import Any

import attrs

from pycontainerd.contracts.errors import PermissionDenied
from pycontainerd.contracts.hooks import hook
from pycontainerd.kernel import Context, Registration

OWNER = "example.acme/owner"


@attrs.frozen
class Config:
    """``owner`` is noted on every container; containers with the annotation ``example.acme/forbidden`` are refused."""

    owner: str = "nobody"


class Hooks:
    """What the daemon asks of us."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    @hook
    def edit_oci_spec(self, namespace: str, spec: dict[str, Any]) -> None:
        annotations = spec.setdefault("annotations", {})
        if "example.acme/forbidden" in annotations:
            raise PermissionDenied("such containers do not run at ACME", hint="ask for an exception")
        annotations[OWNER] = self._owner
        spec["process"].setdefault("env", []).append(f"ACME={self._owner}/{namespace}")


def _init(ctx: Context[Config]) -> Hooks:
    return Hooks(ctx.config.owner)


registration = Registration(type="io.containerd.hook.v1", id="acme", config=Config, init=_init)
