"""What plugins change of a container's spec before its task is made."""

from __future__ import annotations

import json
from typing import Any

import attrs

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument
from pycontainerd.contracts.hooks import HOOK, MARK, Hooks, refusal
from pycontainerd.contracts.runtime import TaskCreation
from pycontainerd.contracts.types import AnyValue
from pycontainerd.kernel.context import Context
from pycontainerd.kernel.hooks import HookError, Implementation, Implementations

DEADLINE = 10.0  # seconds for each plugin


class SpecEdits:
    """The hook ``edit_oci_spec``. It is here, and not where clients build specs, so that no client is without it."""

    def __init__(self, implementations: Implementations | None = None) -> None:
        self._implementations = implementations

    @classmethod
    def in_daemon(cls, ctx: Context[Any]) -> SpecEdits:
        """The edits of the running plugins."""
        return cls(Implementations.in_types(Hooks, MARK, ctx, (HOOK,)))

    async def edited(self, namespace: str, creation: TaskCreation) -> TaskCreation:
        """``creation`` with its spec as all plugins want it.

        :raises ContainerdError: one of them refuses, or fails.
        """
        what = f"cannot create task {creation.id!r}"
        try:
            editors = self._implementations.of("edit_oci_spec") if self._implementations is not None else []
        except HookError as exc:
            raise refusal(exc, what) from exc
        if not editors or creation.spec is None or not creation.spec.value:
            return creation
        spec = _parsed(creation.spec, what)
        for editor in editors:
            spec = await self._edit(editor, namespace, creation, spec, what)
        value = json.dumps(spec, separators=(",", ":")).encode()
        return attrs.evolve(creation, spec=AnyValue(creation.spec.type_url, value))

    async def _edit(
        self, editor: Implementation, namespace: str, creation: TaskCreation, spec: dict[str, Any], what: str
    ) -> dict[str, Any]:
        try:
            # A hook that goes on after its deadline goes on with a spec that nobody uses.
            answer = await editor.call_in_thread(
                DEADLINE, namespace=namespace, id=creation.id, runtime=creation.runtime, spec=spec
            )
        except HookError as exc:
            raise refusal(exc, what) from exc
        if answer is not None:
            raise FailedPrecondition(
                f"{what}: plugin {editor.uri}: its hook edit_oci_spec returned a {type(answer).__name__}",
                hint="it must change the spec in place and return nothing",
            )
        try:
            json.dumps(spec, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as exc:
            raise FailedPrecondition(f"{what}: plugin {editor.uri} left a spec that is no JSON: {exc}") from exc
        return spec


def _parsed(spec: AnyValue, what: str) -> dict[str, Any]:
    try:
        found = json.loads(spec.value)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"{what}: its spec is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise InvalidArgument(f"{what}: its spec is not a JSON object")
    return found
