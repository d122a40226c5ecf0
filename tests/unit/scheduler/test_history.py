"""Minutes become demands, the same ones whether they were told one by one or all at once."""

from __future__ import annotations

import pytest

from registry.activity import KEPT_MINUTES, Minute, Usage
from registry.catalogue import Catalogue
from registry.model import Slo, Task, TensorSpec
from scheduler.history import LATELY, History
from scheduler.recurrence import DAY

SPEC = (TensorSpec("x", "FP32", (-1, 3)),)
CATALOGUE = Catalogue.empty().with_tasks(*(Task(name, SPEC, SPEC, "accuracy") for name in ("sum", "rare")))
TIGHT = Slo(latency_ms=10)


def minute(number: int, *tasks: str, requests: int = 6, rows: int = 12, slo: Slo = TIGHT) -> Minute:
    return Minute(number, tuple(Usage(task, requests, rows, slo) for task in tasks))


def test_a_demand_has_the_rate_rows_and_slo_of_late() -> None:
    history = History()
    history.close([minute(100, "sum", requests=600, rows=600)], 101)
    history.close([minute(n, "sum") for n in range(101, 101 + LATELY)], 101 + LATELY)
    demand, _ = history.demands(CATALOGUE)
    assert (demand.task, demand.rate, demand.request.rows, demand.request.slo) == ("sum", pytest.approx(0.1), 2, TIGHT)
    assert demand.ask > 0.5


def test_silence_lowers_what_is_expected() -> None:
    history = History()
    history.close([minute(n, "sum", "rare") for n in range(20)], 20)
    busy = {d.task: d.ask for d in history.demands(CATALOGUE)}
    history.close([minute(n, "sum") for n in range(20, 60)], 60)
    assert {d.task: d.ask < busy[d.task] / 2 for d in history.demands(CATALOGUE)} == {"sum": False, "rare": True}


def test_minutes_told_one_by_one_or_at_once_are_the_same() -> None:
    minutes = [minute(n, "sum") for n in range(0, 90, 7)]
    at_once, step_by_step = History(), History()
    at_once.close(minutes, 100)
    for until in range(1, 101):
        first = step_by_step.due(until)
        step_by_step.close([m for m in minutes if first <= m.minute < until], until)
    assert at_once.demands(CATALOGUE) == step_by_step.demands(CATALOGUE) != ()


def test_what_is_due_is_what_was_not_told_and_two_days_at_most() -> None:
    history = History()
    assert history.due(10_000) == 10_000 - KEPT_MINUTES
    history.close([], 10_000)
    assert history.due(10_001) == 10_001 - KEPT_MINUTES
    history.close([minute(10_000, "sum")], 10_010)
    assert history.due(10_011) == 10_010
    assert history.due(20_000) == 20_000 - KEPT_MINUTES


def test_what_is_no_more_is_not_expected() -> None:
    history = History()
    history.close([minute(1, "gone")], 2)
    assert {demand.task for demand in history.demands(CATALOGUE)} == set(CATALOGUE.tasks)


def test_what_was_never_asked_for_is_expected_once_a_day_at_first() -> None:
    history = History()
    for demand in history.demands(CATALOGUE):
        assert (demand.ask, demand.request.slo) == (1 / DAY, Slo())


def test_what_waits_in_vain_is_expected_less_and_as_often_as_those_before_it() -> None:
    history = History()
    history.close([minute(100, "gone")], 100 + DAY)
    # Two tasks that have waited for a day each, and one first request in a day by what is believed before.
    assert [demand.ask for demand in history.demands(CATALOGUE)] == [pytest.approx(1 / (3 * DAY))] * 2
    history.close([minute(100 + DAY, "sum")], 101 + DAY)
    assert history.demands(CATALOGUE)[-1].ask == pytest.approx(2 / (3 * DAY + 1))


def test_one_caller_s_slo_is_not_the_task_s() -> None:
    history = History()
    history.close([minute(n, "sum", slo=Slo(min_accuracy=0.5) if n % 2 else TIGHT) for n in range(9)], 9)
    history.close([minute(9, "sum", slo=Slo(latency_ms=1e-3))], 10)
    assert [d.request.slo for d in history.demands(CATALOGUE) if d.task == "sum"] == [TIGHT]


def test_a_clock_that_is_put_back_has_everything_told_anew() -> None:
    told, fresh = History(), History()
    ahead = [minute(n, "sum") for n in range(9_000, 9_010)]
    told.close([*(minute(n, "sum") for n in range(100, 110)), *ahead], 9_010)
    assert told.due(200) == 200 - KEPT_MINUTES
    for history in (told, fresh):
        history.close([minute(n, "rare") for n in range(190, 200)], 200)
    assert told.demands(CATALOGUE) == fresh.demands(CATALOGUE) != ()


def test_a_clock_that_steps_back_a_second_has_nothing_told_twice() -> None:
    history = History()
    history.close([minute(100, "sum")], 101)
    assert history.due(100) == 101
    assert history.due(101) == 101


def test_one_huge_batch_is_not_what_a_task_is_asked_for() -> None:
    history = History()
    history.close([minute(n, "sum") for n in range(9)], 9)
    history.close([minute(9, "sum", requests=1, rows=1_000_000)], 10)
    assert [d.request.rows for d in history.demands(CATALOGUE) if d.task == "sum"] == [2]
