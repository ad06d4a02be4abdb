"""Image verification: the hook ``verify_image``. Closed unless every verifier that there is says yes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from pycontainerd.contracts import digests, media_types
from pycontainerd.contracts.errors import DataLoss, FailedPrecondition, InvalidArgument, PermissionDenied
from pycontainerd.contracts.hooks import HOOK, MARK, VERIFIER, Candidate, Hooks, Judgement, Repository
from pycontainerd.contracts.types import Descriptor
from pycontainerd.kernel import State
from pycontainerd.kernel.context import Context, Logger
from pycontainerd.kernel.hooks import HookError, Implementation, Implementations

from .limits import VERIFIER_DEADLINE as DEADLINE

if TYPE_CHECKING:
    from pycontainerd.registry.client import Registry

T = TypeVar("T")

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

    async def verify(self, image: Candidate, registry: Registry) -> None:
        """Return if ``image`` may be pulled from ``registry``.

        :raises PermissionDenied: a verifier refuses it, or does not say.
        :raises FailedPrecondition: a verifier is not up.
        """
        what = f"cannot pull {image.name} ({image.target.digest})"
        self._all_up(what)
        try:
            verifiers = self._implementations.of("verify_image")
        except HookError as exc:
            raise PermissionDenied(f"{what}: {exc}") from exc
        repository = _Repository(registry, asyncio.get_running_loop())
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(self._ask(verifier, image, repository)) for verifier in verifiers]
        for verifier, answer in zip(verifiers, answers, strict=True):
            judgement = answer.result()
            reason = judgement.reason[:_MAX_REASON]
            fields = {"image": image.name, "digest": image.target.digest, "verifier": verifier.uri, "reason": reason}
            if judgement.ok is not True:
                self._log.warning("an image was refused", **fields)
                raise PermissionDenied(f"{what}: plugin {verifier.uri} refuses it: {reason or 'it gives no reason'}")
            if reason:
                self._log.info("an image was verified", **fields)

    def _all_up(self, what: str) -> None:
        report = self._report()
        for row in report.rows.values() if report is not None else ():
            if row.type == VERIFIER and row.state in _DOWN:
                raise FailedPrecondition(
                    f"{what}: the image verifier {row.sentence}",
                    hint="repair it, or put it into disabled_plugins to pull without",
                )

    async def _ask(self, verifier: Implementation, image: Candidate, repository: Repository) -> Judgement:
        try:
            answer = await verifier.call_in_thread(DEADLINE, image=image, repository=repository)
        except HookError as exc:
            return Judgement(False, str(exc))
        if not isinstance(answer, Judgement) or not isinstance(answer.reason, str):
            return Judgement(False, f"its answer is {answer!r:.100}, not a Judgement")
        return answer


class _Repository:
    """`contracts.hooks.Repository` for threads, over the registry client of the event loop."""

    def __init__(self, registry: Registry, loop: asyncio.AbstractEventLoop) -> None:
        self._registry = registry
        self._loop = loop

    def resolve(self, tag: str) -> Descriptor:
        return self._wait(self._registry.resolve(tag))

    def read(self, target: Descriptor) -> bytes:
        if target.size > media_types.MAX_MANIFEST:
            raise InvalidArgument(f"{target.digest} has {target.size} bytes, the limit is {media_types.MAX_MANIFEST}")
        data = self._wait(self._fetch(target))
        state = digests.hasher(digests.validate(target.digest))
        state.update(data)
        if digests.text(state) != target.digest:
            raise DataLoss(f"the registry sent {digests.text(state)} where {target.digest} was asked for")
        return data

    async def _fetch(self, target: Descriptor) -> bytes:
        return b"".join([chunk async for chunk in self._registry.fetch(target)])

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result(DEADLINE)
        except TimeoutError:
            running.cancel()
            raise
