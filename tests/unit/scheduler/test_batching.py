"""What is believed of runs' times follows the runs, forgets them, and says how many rows are in time."""

from __future__ import annotations

from math import exp, inf
from random import Random
from statistics import fmean

import pytest

from scheduler.batching import KEPT, LEVEL, OFTEN, REACH, Service, pays_to_wait, turn

PROFILE = tuple((rows, 1e-3 * (1 + rows), 1.2e-3 * (1 + rows)) for rows in (1, 2, 4, 8, 16, 32))
"""A millisecond for a run, and one for each row."""


def ran(service: Service, rows: int, seconds: float, times: int = 1, random: Random | None = None) -> Service:
    for _ in range(times):
        service.observe(rows, seconds * (exp(random.gauss(0, 0.05)) if random else 1.0))
    return service


def after_runs(a: float, b: float, *, runs: int = 400, seed: int = 1) -> Service:
    """A service that is known from runs of a + b × rows seconds alone, grown as `most` allows."""
    random, service = Random(seed), Service()
    for _ in range(runs):
        rows = random.randint(1, min(64, service.reach))
        ran(service, rows, a + b * rows, random=random)
    return service


def test_nothing_is_known_at_first() -> None:
    service = Service()
    assert not service.known
    assert (service.median(5), service.tail(5), service.mean(5), service.within(5, 0.0)) == (0.0, 0.0, 0.0, 1.0)
    assert service.most(1.0, 64) == 1
    assert service.foreseen(1.0, 64) == 64


def test_a_profile_is_believed_between_and_beyond_its_sizes() -> None:
    service = Service(PROFILE)
    for rows in (1, 2, 3, 6, 16, 31, 40, 64):
        assert service.median(rows) == pytest.approx(1e-3 * (1 + rows))
        assert service.tail(rows) == pytest.approx(1.2e-3 * (1 + rows))
        assert service.median(rows) <= service.mean(rows) <= service.tail(rows)


@pytest.mark.parametrize("seconds", [0.0, 1e-3, 2.4e-3, 5e-3, 0.0123, 0.07, 1.0, inf])
@pytest.mark.parametrize("limit", [1, 5, 64, 1000])
def test_most_is_the_largest_batch_whose_tail_is_in_time(seconds: float, limit: int) -> None:
    service = Service(PROFILE)
    in_time = [rows for rows in range(1, min(limit, service.reach) + 1) if service.tail(rows) <= seconds * (1 + 1e-12)]
    assert service.most(seconds, limit) == max(in_time, default=1)


@pytest.mark.parametrize("seed", range(10))
def test_a_batch_is_in_time_whatever_shape_was_measured(seed: int) -> None:
    random = Random(seed)
    service = Service(tuple((1 << i, random.uniform(1e-3, 5e-3), 6e-3) for i in range(5)))
    for _ in range(50):
        seconds = random.uniform(0.0, 10e-3)
        most = service.most(seconds, 64)
        assert most == 1 or service.tail(most) <= seconds * (1 + 1e-9)


def test_larger_batches_are_trusted_step_by_step() -> None:
    service, reached = Service(), []
    for _ in range(7):
        rows = service.most(inf, 64)
        reached.append(rows)
        ran(service, rows, 1e-3)
    assert reached == [1, 2, 4, 8, 16, 32, 64]
    assert service.reach == 64 * REACH


@pytest.mark.parametrize(("a", "b"), [(1e-4, 1e-5), (1e-3, 5e-4), (1e-5, 2e-3), (5e-3, 0.0)])
def test_the_curve_is_learnt_from_runs_alone(a: float, b: float) -> None:
    service = after_runs(a, b)
    for rows in (1, 2, 3, 7, 16, 33, 64):
        assert service.median(rows) == pytest.approx(a + b * rows, rel=0.1)


def test_the_tail_holds_as_often_as_it_says() -> None:
    random, service = Random(2), Service()
    within = 0
    for i in range(4000):
        seconds = (1e-3 + 1e-4 * 8) * exp(random.gauss(0, 0.2))
        within += i >= 200 and seconds <= service.tail(8)
        service.observe(8, seconds)
    assert within / 3800 == pytest.approx(LEVEL, abs=0.02)


def test_the_chance_of_being_in_time_is_that_of_the_runs() -> None:
    random, service = Random(3), Service()
    times = [2e-3 * exp(random.gauss(0, 0.2)) for _ in range(500)]
    for seconds in times:
        service.observe(4, seconds)
    for seconds in (1.6e-3, 2e-3, 2.4e-3):
        assert service.within(4, seconds) == pytest.approx(fmean(t <= seconds for t in times), abs=0.12)
    assert (service.within(4, 0.0), service.within(4, -1.0), service.within(4, inf)) == (0.0, 0.0, 1.0)


def test_a_mean_counts_the_pauses_that_a_median_does_not() -> None:
    service = Service()
    for i in range(KEPT):
        service.observe(1, 10e-3 if i % 10 == 0 else 1e-3)
    assert service.median(1) == pytest.approx(1e-3, rel=0.05)
    assert service.mean(1) == pytest.approx(1.9e-3, rel=0.1)


@pytest.mark.parametrize("factor", [2.0, 5.0])
def test_batches_shrink_within_ten_runs_of_a_slowdown_and_grow_back(factor: float) -> None:
    random, service = Random(4), Service(PROFILE)
    ran(service, 16, 17e-3, 100, random)
    usual = service.most(20e-3, 64)
    ran(service, usual, factor * 1e-3 * (1 + usual), 10, random)
    slowed = service.most(20e-3, 64)
    assert service.tail(slowed) <= 20e-3
    assert factor * 1e-3 * (1 + slowed) <= 22e-3 < factor * 1e-3 * (1 + usual)
    ran(service, slowed, 1e-3 * (1 + slowed), 10, random)
    assert service.most(20e-3, 64) >= 0.85 * usual


def test_one_outlier_shrinks_nothing_for_long() -> None:
    random, service = Random(5), Service(PROFILE)
    ran(service, 8, 9e-3, 100, random)
    usual = service.most(20e-3, 64)
    ran(service, 8, 100 * 9e-3)
    assert service.most(20e-3, 64) >= 0.85 * usual
    ran(service, 8, 9e-3, 10, random)
    assert service.most(20e-3, 64) >= 0.9 * usual


def test_one_outlier_among_few_runs_is_not_their_tail_for_long() -> None:
    service, profiled = Service(), Service(PROFILE)
    for each in (service, profiled):
        ran(each, 8, 9e-3, 5)
        ran(each, 8, 5 * 9e-3)
        ran(each, 8, 9e-3, 15)
        assert each.tail(8) <= 1.25 * 9e-3


def test_one_outlier_as_the_first_run_of_a_size_is_soon_forgotten() -> None:
    random, service = Random(6), after_runs(1e-3, 1e-4)
    fresh = Service(((1, 1.1e-3, 1.2e-3), (2, 1.2e-3, 1.3e-3)))
    ran(fresh, 4, 20 * 1.4e-3)
    ran(fresh, 4, 1.4e-3, 20, random)
    for each in (service, fresh):
        assert each.median(4) == pytest.approx(1.4e-3, rel=0.3)


def test_what_was_long_ago_is_forgotten() -> None:
    random, service = Random(7), Service()
    for _ in range(KEPT):
        service.observe(1, 1e-3 * exp(random.gauss(0, 0.3)))
    assert service.tail(1) > 1.4 * service.median(1)
    ran(service, 1, 1e-3, KEPT)
    assert service.tail(1) == pytest.approx(1e-3, rel=0.05)


def test_what_looked_slow_and_is_left_is_believed_to_recover() -> None:
    service = Service(PROFILE)
    ran(service, 1, 20e-3, 10)
    assert service.median(1) == pytest.approx(20e-3, rel=0.2)
    for _ in range(2 * KEPT):
        service.fade()
    assert service.median(1) < 6e-3


def test_runs_that_go_on_do_not_fade() -> None:
    service = ran(Service(PROFILE), 1, 20e-3, 10)
    for _ in range(200):
        ran(service, 1, 20e-3)
        service.fade()
    assert service.median(1) == pytest.approx(20e-3, rel=0.1)


@pytest.mark.parametrize("measured", [(), PROFILE, ((1, 0.0, 0.0),)])
def test_a_clock_that_stands_still_breaks_nothing(measured: tuple[tuple[int, float, float], ...]) -> None:
    service = ran(Service(measured), 3, 0.0, 200)
    assert 0.0 < service.median(3) < 1e-6
    assert service.most(1e-3, 4) == 4
    ran(service, 3, 1e-3, 200)
    assert service.median(3) == pytest.approx(1e-3, rel=0.1)


def test_a_size_that_is_slower_by_the_row_is_not_the_most_efficient() -> None:
    service = Service(((1, 2e-3, 2e-3), (8, 4e-3, 4e-3), (16, 12e-3, 12e-3)))
    assert (service.efficient(16), service.efficient(8), service.efficient(4)) == (8, 8, 4)
    assert Service(PROFILE).efficient(32) == 32


def test_a_turn_leaves_time_for_whoever_comes_meanwhile() -> None:
    assert turn(30e-3, 1) == pytest.approx(15e-3)
    assert turn(30e-3, 2) == pytest.approx(20e-3)
    assert turn(30e-3, 0.5) == pytest.approx(10e-3)
    assert turn(inf, 1) == inf


@pytest.mark.parametrize(
    ("gap_ms", "pays"),
    # Run at once: the first takes 4 ms, the next waits 4 - gap and takes 4. Held back: gap + 5 and 5. 12 - g > 10 + g.
    [(0.1, True), (0.9, True), (1.1, False), (5.0, False), (0.0, False)],
)
def test_waiting_pays_when_less_is_waited_in_all(gap_ms: float, pays: bool) -> None:
    service = Service(tuple((rows, 1e-3 * (3 + rows), 4e-3 * (1 + rows)) for rows in (1, 2, 4, 8)))
    assert pays_to_wait(service, 1, gap_ms * 1e-3) is pays


def test_nobody_waits_where_nothing_is_known_or_rows_share_nothing() -> None:
    assert not pays_to_wait(Service(), 1, 1e-6)
    alone = Service(tuple((rows, 1e-3 * rows, 1.2e-3 * rows) for rows in (1, 2, 4, 8)))
    assert not pays_to_wait(alone, 4, 1e-6)


# What comes on top of runs


def test_what_comes_on_top_of_a_run_is_learnt_and_counts_for_all_sizes_alike() -> None:
    service = Service(PROFILE)
    for _ in range(200):
        service.observe(4, 5e-3, 0.4e-3)
    assert service.overhead_s == pytest.approx(0.4e-3, rel=0.01)
    for rows in (1, 4, 32):
        assert service.alone(rows) == pytest.approx(1e-3 * (1 + rows), rel=0.01)
        assert service.median(rows) == pytest.approx(1e-3 * (1 + rows) + 0.4e-3, rel=0.01)
        assert service.mean(rows) - service.overhead_s < service.tail(rows)
        assert service.within(rows, service.alone(rows)) < 0.5 <= service.within(rows, service.median(rows) * 1.001)
    most = service.most(10e-3, 64)
    assert service.tail(most) <= 10e-3 < service.tail(most + 1)


def test_a_pause_of_the_machine_is_not_taken_for_what_comes_on_top() -> None:
    service = Service(PROFILE)
    for i in range(400):
        service.observe(4, 5e-3, 1.0 if i % 100 == 99 else 0.2e-3)
    assert service.overhead_s == pytest.approx(0.2e-3, rel=0.2)


def test_what_never_ran_is_thought_to_have_as_much_on_top_as_another() -> None:
    new, old = Service(PROFILE), Service(PROFILE)
    old.observe(1, 2e-3, 0.0)
    for service in (new, old):
        service.top(0.3e-3)
    assert (new.overhead_s, old.overhead_s) == (0.3e-3, 0.0)
    assert Service().median(1) == 0.0


def test_larger_runs_are_more_efficient_the_more_comes_on_top_of_each() -> None:
    profile = tuple((rows, 1e-3 * rows**1.1, 1e-3 * rows**1.1) for rows in (1, 2, 4, 8, 16, 32))
    assert Service(profile).efficient(32) == 1
    service = Service(profile)
    service.top(1e-3)
    assert service.efficient(32) > 1


def test_where_a_row_alone_takes_too_long_for_who_comes_meanwhile_a_few_share_a_run_all_the_same() -> None:
    service = Service(tuple((rows, 15e-3 + 1e-3 * rows, 15e-3 + 1e-3 * rows) for rows in (1, 8, 64)))
    assert service.turn(20e-3, 1) == pytest.approx(1.25 * 16e-3)
    assert service.most(service.turn(20e-3, 1), 64) == 5
    assert service.turn(100e-3, 1) == turn(100e-3, 1)


# How runs spread


def test_what_one_run_in_a_hundred_does_is_known_beyond_the_newest_hundred() -> None:
    random, service = Random(5), Service(PROFILE)
    for _ in range(4000):
        service.observe(1, 2e-3 * (4.0 if random.random() < 0.01 else exp(random.gauss(0, 0.03))))
    assert service.within(1, 4e-3) == pytest.approx(0.99, abs=0.005)
    assert service.within(1, 8.1e-3) == pytest.approx(1.0, abs=0.005)


def test_a_change_of_the_pace_is_no_spread() -> None:
    service = ran(Service(PROFILE), 1, 2e-3, times=200)
    ran(service, 1, 6e-3, times=40)
    assert service.median(1) == pytest.approx(6e-3, rel=0.05)
    assert service.within(1, 7e-3) > 0.98
    assert service.within(1, 4e-3) < 0.02


def test_the_spread_of_what_is_not_chosen_lasts_longer_than_its_pace() -> None:
    random, service = Random(5), Service(PROFILE)
    for i in range(1200):
        service.observe(1, 2e-3 * (4.0 if i % 50 == 0 else exp(random.gauss(0, 0.03))))
    for _ in range(300):
        service.fade()
    assert service.within(1, 4e-3) == pytest.approx(0.98, abs=0.005)
    for _ in range(9000):
        service.fade()
    assert service.within(1, 4e-3) == 1.0


def test_ever_faster_runs_break_nothing() -> None:
    service, seconds = Service(), 1.0
    for _ in range(40):
        for _ in range(4):
            service.observe(1, seconds)
        seconds /= 1.3
    assert service.median(1) < 1e-3


# What was tried a few times only


def faded(service: Service, times: int, *, again: bool = True) -> Service:
    for _ in range(times):
        service.fade(again=again)
    return service


@pytest.mark.parametrize(("runs", "stands"), [(1, 2), (2, 4), (5, 32)])
def test_what_ran_seldom_and_long_ago_is_as_good_as_unknown_ever_later(runs: int, stands: int) -> None:
    service = Service()
    for _ in range(runs):
        service.observe(1, 1.0, 0.1)
    assert faded(service, stands).known
    assert not faded(service, 1).known
    assert (service.largest, service.within(1, 0.0), service.mean(4)) == (0, 1.0, service.overhead_s)
    service.observe(2, 3e-3)
    assert service.known
    assert service.alone(2) == pytest.approx(3e-3)


def test_what_is_not_to_be_tried_again_or_ran_often_is_not_forgotten() -> None:
    service = Service()
    service.observe(1, 1e-3)
    assert faded(service, 100, again=False).known
    often = Service()
    for _ in range(OFTEN):
        often.observe(1, 1e-3)
    often.runs = 10**9  # two to the power of which nobody has time for
    assert faded(often, 3).known
