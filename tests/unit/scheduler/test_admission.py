"""A work is predicted to be late when what is ahead of it, and it, cannot be done by then."""

from __future__ import annotations

from math import inf

import pytest

from scheduler.admission import SHAPED, Pace
from scheduler.rules import rule_named
from scheduler.served import Served
from scheduler.work import Ladder, Measured, Rung, Work


def measured(a_ms: float, b_ms: float, most: int = 64) -> Measured:
    """Runs of a + b × rows that never vary."""
    sizes = [1 << i for i in range(most.bit_length())]
    return tuple((rows, (a_ms + b_ms * rows) * 1e-3, (a_ms + b_ms * rows) * 1e-3) for rows in sizes)


def served(
    profile: Measured = (), *, max_batch: int = 1, patience_s: float = inf, waiting: tuple[Work, ...] = ()
) -> Served:
    rung = Rung("m", 0.9, max_batch, {1: profile} if profile else {})
    ladder = Ladder("t", (rung,))
    task = Served(ladder, (1,), lambda service: rule_named("modelless")(service, lambda: 0.0))
    task.offer(ladder)
    task.patience_s = patience_s
    for work in waiting:
        task.queue.add(work)
    return task


def work(deadline_ms: float, rows: int = 1, priority: int = 0) -> Work:
    return Work("t", rows, 0.0, deadline_ms * 1e-3, priority=priority)


def late_ms(task: Served, newcomer: Work, *, begin: float = 0.0, cores: float = 1, margin_ms: float = 0.0) -> float:
    rung, service = task.ladder.rungs[0], task.services["m", 1]
    pace = Pace(rung, service, task.queue, task.arrivals, patience_s=task.patience_s, cores=cores)
    return pace.lateness(newcomer, begin, begin=begin, alike=task.alike, margin_s=margin_ms * 1e-3) * 1e3


def test_alone_it_takes_its_own_run() -> None:
    task = served(measured(0, 4))
    assert late_ms(task, work(10)) == pytest.approx(-6)
    assert late_ms(task, work(3)) == pytest.approx(1)
    assert late_ms(task, work(10), begin=7e-3) == pytest.approx(1)
    assert late_ms(task, work(inf)) == -inf


def test_it_waits_for_what_is_ahead() -> None:
    task = served(measured(0, 4), waiting=(work(5), work(6), work(7)))
    assert late_ms(task, work(10)) == pytest.approx(16 - 10)
    assert late_ms(task, work(10), cores=2) == pytest.approx(6 + 4 - 10)


def test_runs_are_shared_as_far_as_the_usual_patience_allows() -> None:
    # Half of 20 ms for a run of 2 + rows: eight rows in 10 ms.
    task = served(measured(2, 1), max_batch=64, patience_s=20e-3, waiting=tuple(work(20) for _ in range(20)))
    assert late_ms(task, work(20)) == pytest.approx(2 * 10 + (2 + 5) - 20)
    task = served(measured(2, 1), max_batch=4, patience_s=20e-3, waiting=tuple(work(20) for _ in range(20)))
    assert late_ms(task, work(20)) == pytest.approx(5 * 6 + (2 + 1) - 20)


def test_a_share_of_a_core_means_turns_with_others() -> None:
    task = served(measured(0, 4), waiting=(work(5),))
    # Each 4 ms of its own are 8 ms: others' turn, its first, others' turn, its own.
    assert late_ms(task, work(10), cores=0.5) == pytest.approx(4 + 8 + 4 - 10)


def test_a_more_urgent_work_passes_those_that_wait() -> None:
    task = served(measured(0, 4), waiting=(work(100), work(100)))
    assert late_ms(task, work(5)) == pytest.approx(-1)
    assert late_ms(task, work(200)) == pytest.approx(12 - 200)
    assert late_ms(task, work(200, priority=-1)) < 0


def test_an_accepted_work_is_not_made_late_by_a_more_urgent_one() -> None:
    task = served(measured(0, 4), waiting=(work(9), work(10)))
    assert late_ms(task, work(5)) == pytest.approx(4 + 8 - 10)  # the second one would be 2 ms late
    assert late_ms(task, work(11, priority=-1)) == pytest.approx(12 - 10)


def test_what_is_late_already_keeps_nobody_away() -> None:
    task = served(measured(0, 4), waiting=(work(6), work(7)))  # the second cannot be done by then
    assert late_ms(task, work(2, priority=-1)) == pytest.approx(2)
    assert late_ms(task, work(5)) == pytest.approx(8 - 6)  # but the first could be
    assert late_ms(served(measured(0, 4), waiting=(work(3),)), work(4)) == pytest.approx(0 + 8 - 4)
    assert late_ms(served(measured(0, 4), waiting=(work(3),)), work(2.5, priority=-1)) == pytest.approx(1.5)


def test_a_work_of_many_rows_takes_the_time_of_them_all() -> None:
    task = served(measured(0, 1), max_batch=4, patience_s=1.0)
    assert late_ms(task, work(10, rows=32)) == pytest.approx(22)
    task = served(measured(0, 1), max_batch=4, patience_s=1.0, waiting=(work(10, rows=32),))
    assert late_ms(task, work(20, rows=1)) == pytest.approx(33 - 20)


def test_nobody_is_turned_away_while_nothing_is_known() -> None:
    for max_batch in (1, 64):
        task = served(max_batch=max_batch, patience_s=20e-3, waiting=tuple(work(20) for _ in range(100)))
        assert late_ms(task, work(20)) == -inf


def test_nobody_is_turned_away_before_larger_runs_were_tried() -> None:
    flat = measured(2, 0, most=2)
    waiting = tuple(work(20) for _ in range(100))
    assert late_ms(served(flat, max_batch=64, patience_s=20e-3, waiting=waiting), work(20)) == -inf
    shaped = measured(2, 0.5, most=SHAPED)
    assert late_ms(served(shaped, max_batch=64, patience_s=20e-3, waiting=waiting), work(20)) > 0


def test_but_who_would_be_late_alone_is() -> None:
    slow = served(measured(30, 0, most=2), max_batch=64, patience_s=100e-3)
    assert late_ms(slow, work(20)) == pytest.approx(10)
    assert late_ms(slow, work(20, rows=50)) == pytest.approx(10)  # what fifty rows take is not known
    assert late_ms(served(max_batch=64), work(-5)) == pytest.approx(5)


def test_works_that_cannot_share_runs_are_not_promised_that_they_do() -> None:
    waiting = tuple(work(10) for _ in range(9))
    task = served(measured(2, 1), max_batch=64, patience_s=20e-3, waiting=waiting)
    assert late_ms(task, work(10)) == pytest.approx(10 + 4 - 10)  # eight of nine, then it and the last
    task.alike = 0.2
    assert late_ms(task, work(10)) == pytest.approx(4 * 4 + 4 - 10)  # two by two
    task.alike = 0.01
    assert late_ms(task, work(10)) == pytest.approx(9 * 3 + 3 - 10)
    # Nor is it a guess that they may do better in larger runs.
    task = served(measured(2, 1, most=1), max_batch=64, patience_s=100e-3, waiting=waiting)
    assert late_ms(task, work(20)) == -inf
    task.alike = 0.01
    assert late_ms(task, work(20)) == pytest.approx(9 * 3 + 3 - 20)


def test_who_comes_until_its_run_begins_shares_it_and_makes_it_longer() -> None:
    waiting = tuple(work(10) for _ in range(8))
    task = served(measured(2, 1), max_batch=64, patience_s=20e-3, waiting=waiting)
    assert late_ms(task, work(10)) == pytest.approx(10 + 3 - 10)
    for i in range(9):
        task.arrivals.note(i * 2e-3 - 16e-3)  # one each 2 ms
    assert late_ms(task, work(10)) == pytest.approx(10 + 8 - 10)
    for i in range(1000):
        task.arrivals.note((i - 1000) * 1e-9)
    assert late_ms(task, work(10)) == pytest.approx(10 + 10 - 10)  # but no more than a run takes


def test_a_run_is_counted_by_its_tail_and_those_before_it_by_their_mean() -> None:
    profile = tuple((rows, 1e-3 * rows, 1.5e-3 * rows) for rows in (1, 2, 4, 8))
    task = served(profile, max_batch=1, waiting=(work(1), work(1)))
    assert 2 * 1 + 1.5 < late_ms(task, work(2)) + 2 < 2 * 1.5 + 1.5


def test_a_margin_must_be_left_over() -> None:
    task = served(measured(0, 4))
    assert late_ms(task, work(10), margin_ms=6.0) == pytest.approx(0.0, abs=1e-9)
    assert late_ms(task, work(10), margin_ms=7.0) == pytest.approx(1.0)


@pytest.mark.parametrize("waiting", [0, 1, 100, 4000])
def test_a_newcomer_is_never_later_than_with_more_ahead(waiting: int) -> None:
    few = served(measured(2, 1), max_batch=64, patience_s=20e-3, waiting=tuple(work(50) for _ in range(waiting)))
    more = served(measured(2, 1), max_batch=64, patience_s=20e-3, waiting=tuple(work(50) for _ in range(waiting + 64)))
    assert late_ms(few, work(60)) < late_ms(more, work(60))
