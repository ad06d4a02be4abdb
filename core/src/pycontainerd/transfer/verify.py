"""Image verification: the hook ``verify_image``. Closed unless every verifier that there is says yes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pycontainerd.contracts.errors import FailedPrecondition, PermissionDenied
from pycontainerd.contracts.hooks import HOOK, MARK, VERIFIER, Candidate, Hooks, Judgement
from pycontainerd.kernel import State
from pycontainerd.kernel.context import Context, Logger
from pycontainerd.kernel.hooks import HookError, Implementation, Implementations

DEADLINE = 30.0  # seconds for each verifier
_MAX_REASON = 1000  # characters
_DOWN = (State.FAILED, State.BLOCKED)


class Verifiers:
    """All verifiers. ``report`` says where plugins stand: one that is installed, enabled and not up refuses too."""

    def __init__(self, implementations: Implementations, report: Callable[[], Any], log: Logger) -> None:
        self._implementations = implementations
        self._report = report
        self._log = log

    @classmethod
    def in_daemon(cls, ctx: Context[Any]) -> Verifiers:
        """The verifiers among the running plugins."""
        return cls(Implementations.in_types(Hooks, MARK, ctx, (HOOK, VERIFIER)), ctx.daemon.report, ctx.log)

    async def verify(self, image: Candidate) -> None:
        """Return if ``image`` may be pulled.

        :raises PermissionDenied: a verifier refuses it, or does not say.
        :raises FailedPrecondition: a verifier is not up.
        """
        what = f"cannot pull {image.name} ({image.target.digest})"
        self._all_up(what)
        try:
            verifiers = self._implementations.of("verify_image")
        except HookError as exc:
            raise PermissionDenied(f"{what}: {exc}") from exc
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(self._ask(verifier, image)) for verifier in verifiers]
        for verifier, answer in zip(verifiers, answers, strict=True):
            judgement = answer.result()
            reason = judgement.reason[:_MAX_REASON]
            fields = {"image": image.name, "digest": image.target.digest, "verifier": verifier.uri, "reason": reason}
            if judgement.ok is not True:
                self._log.warning("an image was refused", **fields)
                raise PermissionDenied(f"{what}: plugin {verifier.uri} refuses it: {reason or 'it gives no reason'}")
            self._log.info("an image was verified", **fields)

    def _all_up(self, what: str) -> None:
        report = self._report()
        for row in report.rows.values() if report is not None else ():
            if row.type == VERIFIER and row.state in _DOWN:
                raise FailedPrecondition(
                    f"{what}: the image verifier {row.sentence}",
                    hint="repair it, or put it into disabled_plugins to pull without",
                )

    async def _ask(self, verifier: Implementation, image: Candidate) -> Judgement:
        try:
            answer = await verifier.call_in_thread(DEADLINE, image=image)
        except HookError as exc:
            return Judgement(False, str(exc))
        if not isinstance(answer, Judgement) or not isinstance(answer.reason, str):
            return Judgement(False, f"its answer is {answer!r:.100}, not a Judgement")
        return answer
