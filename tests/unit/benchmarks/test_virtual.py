"""Playing in virtual time: what waits, what is late, what is asked again; and what is made of the outcomes."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from benchmarks.baselines import Fixed, Static
from benchmarks.virtual import Outcomes, effective_accuracy, parts_of, play, since, switches
from scheduler.station import Station
from scheduler.work import Ladder, Run, Rung, Work


def runs(*variants: str) -> list[tuple[float, Run]]:
    return [(float(i), Run(i, "t", variant, 1, (), 1, 0.0)) for i, variant in enumerate(variants)]


def test_one_core_serves_in_turn() -> None:
    outcomes = play(Static(1, Fixed("v", 1)), "t", np.array([0.0, 0.1, 5.0]), 10.0, lambda run: 1.0)
    assert outcomes.done == pytest.approx([1.0, 2.0, 6.0])
    assert outcomes.latency == pytest.approx([1.0, 1.9, 1.0])
    assert outcomes.variant == ["v", "v", "v"]


def test_a_batch_ends_together() -> None:
    outcomes = play(Static(1, Fixed("v", 1, batch=2)), "t", np.array([0.0, 0.1, 0.2]), 10.0, lambda run: 1.0)
    assert outcomes.done == pytest.approx([1.0, 2.0, 2.0])
    assert [len(run.works) for _, run in outcomes.runs] == [1, 2]


def test_what_cannot_be_in_time_is_dropped() -> None:
    curve = lambda variant, threads, rows: 1.0  # noqa: E731 - a curve is a function of three
    outcomes = play(Static(1, Fixed("v", 1), curve), "t", np.array([0.0, 0.1, 0.2]), 2.5, lambda run: 1.0)
    assert outcomes.done == pytest.approx([1.0, 2.0, inf])


def test_it_ends_where_it_is_told_to() -> None:
    outcomes = play(Static(1, Fixed("v", 1)), "t", np.array([0.0, 3.0]), 10.0, lambda run: 1.0, until=2.0)
    assert outcomes.done == [1.0, inf]


def test_a_station_is_played_to_its_end() -> None:
    station = Station(2)
    station.offer(Ladder("t", (Rung("v", 1.0, service={1: ((1, 0.01, 0.011), (8, 0.02, 0.022))}),)), 0.0)
    station.resident("t", "v", 1)
    outcomes = play(station, "t", np.arange(50) / 1000, 0.2, lambda run: 0.01 + 0.001 * run.rows)
    assert np.isfinite(outcomes.done).all()
    assert max(outcomes.latency) <= 0.2
    assert sum(len(run.works) for _, run in outcomes.runs) == 50


def test_late_and_wrong_answers_count_the_same() -> None:
    outcomes = Outcomes(np.zeros(4), [1.0, 1.0, 3.0, inf], ["good", "bad", "good", None])
    score, timely = effective_accuracy(outcomes, 2.0, {"good": 0.9, "bad": 0.5})
    assert score == pytest.approx((0.9 + 0.5) / 4)
    assert timely == 0.5


def test_parts_are_equal_times_and_hold_every_work_once() -> None:
    arrived = np.array([0.0, 0.1, 0.2, 5.0, 9.0, 10.0])
    outcomes = Outcomes(arrived, [float(i) for i in range(6)], list("abcdef"))
    parts = parts_of(outcomes, 4)
    assert [part.variant for part in parts] == [["a", "b", "c"], ["d"], ["e", "f"]]  # nothing came in the second
    assert [part.done for part in parts] == [[0.0, 1.0, 2.0], [3.0], [4.0, 5.0]]
    (whole,) = parts_of(outcomes, 1)
    assert (list(whole.arrived), whole.done, whole.variant) == (list(arrived), outcomes.done, outcomes.variant)


def test_what_came_from_some_time_on_can_be_looked_at_alone() -> None:
    outcomes = Outcomes(np.array([0.0, 1.0, 2.0, 5.0]), [0.5, 3.0, 3.0, 6.0], list("abcd"), runs("a", "b", "c"))
    later = since(outcomes, 1.0)
    assert (list(later.arrived), later.done, later.variant) == ([1.0, 2.0, 5.0], [3.0, 3.0, 6.0], ["b", "c", "d"])
    assert [when for when, _ in later.runs] == [1.0, 2.0]


def test_switches_are_counted_by_the_minute() -> None:
    assert switches(runs("a", "a", "b", "a", "a"), 30.0) == 4.0
    assert switches(runs("a", "a"), 30.0) == 0.0
    assert switches([], 30.0) == 0.0


def test_works_have_a_row_and_a_deadline_each() -> None:
    seen: list[Work] = []

    class Watching(Static):
        def arrive(self, work: Work, now: float) -> None:
            seen.append(work)
            super().arrive(work, now)

    play(Watching(1, Fixed("v", 1)), "t", np.array([0.5, 1.0]), 2.0, lambda run: 0.1)
    assert [(work.task, work.rows, work.arrived, work.deadline) for work in seen] == [
        ("t", 1, 0.5, 2.5),
        ("t", 1, 1.0, 3.0),
    ]
