"""A circuit breaker without clock, lock or I/O: when to call somebody who has stopped answering.

Closed, every call is let through. After ``threshold`` failures in a row it is open: calls are refused without a try.
After a while one call, the trial, is let through (half-open). It closes the breaker, or opens it for twice as long.
"""

from __future__ import annotations

import enum

import attrs


class State(enum.StrEnum):
    """What a breaker does with a call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@attrs.frozen
class Ticket:
    """Leave to make one call; hand it back with how the call ended."""

    round: int
    trial: bool = False


@attrs.define
class Breaker:
    """Times are seconds of a clock that never goes back, given by the caller. Not thread-safe: the caller locks.

    :param threshold: failures in a row that open it.
    :param first: seconds until the first trial; each failed trial doubles them.
    :param longest: seconds that are never exceeded.
    """

    threshold: int = 3
    first: float = 1.0
    longest: float = 30.0
    state: State = attrs.field(default=State.CLOSED, init=False)
    failures: int = attrs.field(default=0, init=False)
    """Failures since the last success."""
    since: float = attrs.field(default=0.0, init=False)
    """When it opened: unchanged by trials that fail."""
    retry_at: float = attrs.field(default=0.0, init=False)
    """When the next trial may be made."""
    error: str = attrs.field(default="", init=False)
    """The last failure."""
    _wait: float = attrs.field(default=0.0, init=False)
    # Tickets of an earlier round are of calls that began before the breaker last changed: they say nothing about now.
    _round: int = attrs.field(default=0, init=False)

    def admit(self, now: float) -> Ticket | None:
        """Leave to call now; None: refused. Each ticket must come back by exactly one of the methods below."""
        if self.state is State.CLOSED:
            return Ticket(self._round)
        if self.state is State.HALF_OPEN or now < self.retry_at:
            return None
        self._turn(State.HALF_OPEN)
        return Ticket(self._round, trial=True)

    def succeeded(self, ticket: Ticket) -> None:
        """The other side answered, be it with an error."""
        if ticket.round == self._round:
            self.failures = 0
            if ticket.trial:
                self._turn(State.CLOSED)

    def failed(self, ticket: Ticket, now: float, error: str) -> None:
        """The other side did not answer."""
        if ticket.round != self._round:
            return
        self.failures += 1
        self.error = error
        if ticket.trial:
            self._wait = min(self._wait * 2, self.longest)
        elif self.failures < self.threshold:
            return
        else:
            self._wait = min(self.first, self.longest)
            self.since = now
        self.retry_at = now + self._wait
        self._turn(State.OPEN)

    def abandoned(self, ticket: Ticket) -> None:
        """The call ended for a reason of our own, which tells nothing of the other side. A trial may be made anew."""
        if ticket.round == self._round and ticket.trial:
            self._turn(State.OPEN)

    def _turn(self, state: State) -> None:
        self.state = state
        self._round += 1
