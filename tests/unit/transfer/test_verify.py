"""Verification is closed unless every verifier says yes, in time, in the form that is asked for."""

from __future__ import annotations

import asyncio
import threading

import attrs
import pytest

from pycontainerd.contracts.errors import (
    ContainerdError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
)
from pycontainerd.contracts.hooks import MARK, VERIFIER, Candidate, Hooks, Judgement, hook
from pycontainerd.contracts.types import Descriptor
from pycontainerd.kernel import Logger, Report, Row, State
from pycontainerd.kernel.hooks import Implementations
from pycontainerd.transfer import verify
from pycontainerd.transfer.verify import Verifiers

IMAGE = Candidate("space", "r.test/a:1", Descriptor("m", "sha256:" + "1" * 64, 5))


@attrs.define
class Says:
    answer: object
    asked: list[Candidate] = attrs.field(factory=list)

    @hook
    def verify_image(self, image):
        self.asked.append(image)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def run(*plugins, rows=()):
    by_uri = {f"p{number}": plugin for number, plugin in enumerate(plugins)}
    report = Report({row.uri: row for row in rows})
    found = Verifiers(Implementations(Hooks, MARK, lambda: by_uri), lambda: report, Logger("test"))
    asyncio.run(found.verify(IMAGE, registry=None))


def row(state, type=VERIFIER):
    return Row(uri=f"{type}.one", type=type, id="one", state=state, cause="reasons")


def test_all_must_agree_and_each_is_asked_once():
    yes, no = Says(Judgement(True, "fine")), Says(Judgement(False, "bad"))
    run()
    run(yes, yes2 := Says(Judgement(True)))
    assert yes.asked == yes2.asked == [IMAGE]
    with pytest.raises(PermissionDenied, match=r"cannot pull r.test/a:1 \(sha256:1+\): plugin p1 refuses it: bad"):
        run(yes, no)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        True,
        "ok",
        {"ok": True},
        Judgement("yes"),
        Judgement(1),
        Judgement(True, None),
        OSError("gone"),
        SystemExit(0),
        Judgement(False),
    ],
)
def test_whatever_is_no_plain_yes_refuses(answer):
    with pytest.raises(PermissionDenied, match="plugin p0"):
        run(Says(answer))


def test_a_verifier_that_does_not_answer_refuses(monkeypatch):
    monkeypatch.setattr(verify, "DEADLINE", 0.05)
    stop = threading.Event()

    class Hangs:
        @hook
        def verify_image(self):
            stop.wait(60)

    try:
        with pytest.raises(PermissionDenied, match=r"did not finish in 0\.05 s"):
            run(Hangs())
    finally:
        stop.set()


@pytest.mark.parametrize("state", list(State))
def test_a_verifier_that_should_be_up_and_is_not_stops_every_pull(state):
    if state in (State.FAILED, State.BLOCKED):
        with pytest.raises(FailedPrecondition, match=r"image-verifier.v1.one.*reasons"):
            run(rows=[row(state)])
    else:
        run(rows=[row(state)])
    run(rows=[row(state, type="io.example.other.v1")])


def test_a_plugin_that_does_not_fit_the_hook_stops_every_pull():
    class Odd:
        def verify_image(self, strange): ...

    setattr(Odd.verify_image, MARK, {"tryfirst": False, "trylast": False})
    with pytest.raises(ContainerdError, match="does not fit"):
        run(Odd())


def test_a_reason_is_bounded():
    with pytest.raises(PermissionDenied) as failed:
        run(Says(Judgement(False, "x" * 100_000)))
    assert len(str(failed.value)) < 2000


def test_what_a_verifier_reads_is_bounded_and_is_what_it_asked_for():
    class Registry:
        async def fetch(self, target):
            yield b"something else"

    async def read(target):
        repository = verify._Repository(Registry(), asyncio.get_running_loop())
        return await asyncio.to_thread(repository.read, target)

    digest = "sha256:" + "1" * 64
    with pytest.raises(InvalidArgument, match="the limit is"):
        asyncio.run(read(Descriptor("m", digest, 1 << 40)))
    with pytest.raises(DataLoss, match=f"where {digest} was asked for"):
        asyncio.run(read(Descriptor("m", digest, 14)))
