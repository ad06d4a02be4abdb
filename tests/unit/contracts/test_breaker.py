"""The circuit breaker: by hand, and as a state machine against a model."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pycontainerd.contracts.breaker import Breaker, State, Ticket


def admitted(breaker: Breaker, now: float) -> Ticket:
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def broken(now: float = 0.0, **kwargs: float) -> Breaker:
    breaker = Breaker(**kwargs)  # type: ignore[arg-type]
    for _ in range(breaker.threshold):
        breaker.failed(admitted(breaker, now), now, "gone")
    return breaker


def test_it_opens_at_the_threshold_and_says_since_when_and_why() -> None:
    breaker = Breaker(threshold=3)
    for now in (1.0, 2.0):
        breaker.failed(admitted(breaker, now), now, "slow")
        assert breaker.state is State.CLOSED
    breaker.failed(admitted(breaker, 3.0), 3.0, "gone")
    assert (breaker.state, breaker.since, breaker.error, breaker.retry_at) == (State.OPEN, 3.0, "gone", 4.0)
    assert breaker.admit(3.9) is None


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(threshold=2)
    for _ in range(5):
        breaker.failed(admitted(breaker, 0), 0, "slow")
        breaker.succeeded(admitted(breaker, 0))
    assert breaker.state is State.CLOSED


def test_one_trial_at_a_time() -> None:
    breaker = broken()
    trial = admitted(breaker, 1.0)
    assert trial.trial
    assert breaker.state is State.HALF_OPEN
    assert breaker.admit(100.0) is None
    breaker.succeeded(trial)
    assert breaker.state is State.CLOSED
    assert not admitted(breaker, 100.0).trial


def test_failed_trials_wait_longer_and_longer_up_to_a_bound() -> None:
    breaker = broken(longest=10.0)
    now, waits = 0.0, []
    for _ in range(6):
        waits.append(breaker.retry_at - now)
        now = breaker.retry_at
        breaker.failed(admitted(breaker, now), now, "still gone")
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert breaker.since == 0.0


def test_calls_that_began_before_it_opened_say_nothing_of_now() -> None:
    breaker = Breaker(threshold=1)
    early, late = admitted(breaker, 0), admitted(breaker, 0)
    breaker.failed(admitted(breaker, 0), 0.0, "gone")
    breaker.failed(early, 0.5, "gone too")
    breaker.succeeded(late)
    assert (breaker.state, breaker.retry_at, breaker.failures) == (State.OPEN, 1.0, 1)


def test_a_trial_that_was_not_made_may_be_made_at_once() -> None:
    breaker = broken()
    breaker.abandoned(admitted(breaker, 1.0))
    assert breaker.state is State.OPEN
    assert admitted(breaker, 1.0).trial


class Machine(RuleBasedStateMachine):
    """Any calls in any order, ending in any way."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(threshold=2, first=1.0, longest=4.0)
        self.now = 0.0
        self.trials: set[int] = set()

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=tickets)
    def admit(self) -> Ticket:
        before = self.breaker.state
        ticket = self.breaker.admit(self.now)
        match before:
            case State.CLOSED:
                assert ticket is not None
                assert not ticket.trial
            case State.OPEN:
                assert (ticket is not None) == (self.now >= self.breaker.retry_at)
            case State.HALF_OPEN:
                assert ticket is None
        if ticket is None:
            return Ticket(-1)
        if ticket.trial:
            self.trials.add(ticket.round)
        return ticket

    @rule(ticket=consumes(tickets), how=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, ticket: Ticket, how: str) -> None:
        was, retry_at = self.breaker.state, self.breaker.retry_at
        if how == "succeeded":
            self.breaker.succeeded(ticket)
        elif how == "failed":
            self.breaker.failed(ticket, self.now, "no answer")
        else:
            self.breaker.abandoned(ticket)
        self.trials.discard(ticket.round)
        if not ticket.trial and was is not State.CLOSED:
            assert (self.breaker.state, self.breaker.retry_at) == (was, retry_at)
        if ticket.trial:
            assert self.breaker.state is (State.CLOSED if how == "succeeded" else State.OPEN)

    @invariant()
    def holds(self) -> None:
        breaker = self.breaker
        assert (breaker.state is State.HALF_OPEN) == (len(self.trials) == 1)
        if breaker.state is State.OPEN:
            assert breaker.error
            assert breaker.since <= self.now
            assert breaker.retry_at - self.now <= breaker.longest
        if breaker.state is State.CLOSED:
            assert breaker.failures < breaker.threshold


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
