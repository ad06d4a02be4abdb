"""When collections are due, on a clock of our own."""

from __future__ import annotations

import math

import pytest

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd_gc.config import Config
from pycontainerd_gc.timetable import LEAST_COST, Timetable


def after_first(cost: float = 0.1, **config: object) -> Timetable:
    """A timetable whose first collection ended at 10."""
    table = Timetable(Config(**config), 0)  # type: ignore[arg-type]
    table.began()
    table.ended(10, cost)
    return table


def test_the_first_is_due_after_the_startup_delay_or_without_one_when_something_happens() -> None:
    assert Timetable(Config(startup_delay="2s"), 5).due == 7
    table = Timetable(Config(startup_delay="0s"), 5)
    assert table.due == math.inf
    table.changed(6, removed=True)
    assert table.due == 6


def test_a_removal_makes_one_due_when_the_pause_is_long_enough_for_what_collections_cost() -> None:
    table = after_first(0.1, pause_threshold=0.02)
    assert table.due == math.inf
    table.changed(10.5, removed=True)
    assert table.due == pytest.approx(10 + 0.1 / 0.02 - 0.1)
    table = after_first(0.1)
    table.changed(100, removed=True)
    assert table.due == 100


def test_other_changes_make_one_due_once_there_are_enough() -> None:
    table = after_first(mutation_threshold=3)
    for _ in range(2):
        table.changed(100, removed=False)
    assert table.due == math.inf
    table.changed(100, removed=False)
    assert table.due == 100
    table = after_first(mutation_threshold=0)
    for _ in range(1000):
        table.changed(100, removed=False)
    assert table.due == math.inf


def test_enough_removals_and_requests_wait_for_no_pause() -> None:
    table = after_first(5, deletion_threshold=2, schedule_delay="1s")
    table.changed(11, removed=True)
    assert table.due > 200
    table.changed(12, removed=True)
    assert table.due == 13
    table = after_first(5, schedule_delay="1s")
    table.requested(11)
    assert table.due == 12


def test_what_happens_while_one_runs_is_for_the_next() -> None:
    table = after_first()
    table.requested(20)
    table.began()
    assert table.due == math.inf
    table.changed(20.5, removed=True)
    table.ended(21, 0.1)
    assert table.due == pytest.approx(21 + table.interval)


def test_one_is_due_when_something_expires() -> None:
    table = after_first()
    table.expires(1000)
    table.expires(2000)
    assert table.due == 1000
    table.expires(3)  # long ago: not before the pause is over
    assert table.due == pytest.approx(10 + table.interval)


def test_a_failed_one_is_tried_again_later() -> None:
    table = after_first()
    table.requested(20)
    table.began()
    table.failed(21)
    assert table.due == pytest.approx(21 + table.interval + 1)


def test_thresholds_have_limits() -> None:
    assert after_first(1, pause_threshold=7).interval == 1
    assert after_first(0, pause_threshold=0.02).interval == pytest.approx(LEAST_COST / 0.02 - LEAST_COST)
    assert after_first(1, pause_threshold=0).interval == 1
    assert after_first(1, pause_threshold=-3).interval == 1


def test_settings_can_change_on_the_way() -> None:
    table = after_first(mutation_threshold=3)
    table.changed(100, removed=False)
    table.configure(Config(mutation_threshold=2, schedule_delay="5s"))
    table.changed(100, removed=False)
    assert table.due == 105


def test_delays_are_durations() -> None:
    assert Config(schedule_delay="1m30s").schedule_seconds == 90
    with pytest.raises(InvalidArgument, match="no duration"):
        Config(startup_delay="soon")
