"""A station in virtual time: who runs when, on what, with whom, and what the others are told."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import exp, inf
from random import Random
from typing import Any

import pytest

from scheduler.served import Served
from scheduler.station import LEAST_LOAD_S, Station
from scheduler.work import Expire, Ladder, Refuse, Run, Rung, Work, answers

SIZES = (1, 2, 4, 8, 16, 32, 64)
Took = Callable[[Run, float], float]


def measured(a: float, b: float, tail: float = 1.15) -> tuple[tuple[int, float, float], ...]:
    return tuple((rows, a + b * rows, tail * (a + b * rows)) for rows in SIZES)


def station(*ladders: Ladder, cores: int = 1, batching: str = "modelless", load: bool = True, **facts: int) -> Station:
    """A station that serves these, everything loaded."""
    made = Station(cores, batching=batching, **facts)
    for ladder in ladders:
        made.offer(ladder, 0.0)
        for rung in ladder.rungs if load else ():
            for threads in {1, cores}:
                made.resident(ladder.task, rung.variant, threads)
    return made


def alone(task: str = "t", *, max_batch: int = 64, weight: float = 1.0, a: float = 0.0, b: float = 0.0) -> Ladder:
    """One variant, of whose runs nothing is known unless they take a + b × rows."""
    service = {1: measured(a, b)} if a + b else {}
    return Ladder(task, (Rung("m", 0.9, max_batch, service),), weight)


def linear(a: float, b: float, *, seed: int = 1, spread: float = 0.05) -> Took:
    """Runs of a + b × rows, more or less."""
    random = Random(seed)
    return lambda run, now: (a + b * run.rows) * exp(random.gauss(0, spread))


def poisson(rate: float, until: float, patience_s: float = inf, *, seed: int = 1, task: str = "t") -> list[Work]:
    random, now, works = Random(seed), 0.0, []
    while (now := now + random.expovariate(rate)) < until:
        works.append(Work(task, 1, now, now + patience_s))
    return works


def modulated(rates: Sequence[float], stay_s: float, until: float, patience_s: float, *, seed: int = 1) -> list[Work]:
    """A Markov-modulated Poisson process."""
    random, now, works = Random(seed), 0.0, []
    rate, changes = rates[0], 0.0
    while now < until:
        if now >= changes:
            rate, changes = random.choice(rates), now + random.expovariate(1 / stay_s)
        now += random.expovariate(rate)
        works.append(Work("t", 1, now, now + patience_s))
    return works


def order(runs: Iterable[tuple[float, Run]]) -> list[Work]:
    return [work for _, run in runs for work in run.works]


# Whose turn it is


def test_the_earliest_deadline_runs_first_within_a_priority(drive) -> None:
    random = Random(1)
    works = [Work("t", 1, 0.0, 10.0 + random.random(), priority=random.randrange(3)) for _ in range(50)]
    played = drive(station(alone(max_batch=1)), lambda run, now: 1e-3).play(works)
    assert order(played.runs) == sorted(works, key=lambda work: (work.priority, work.deadline))


def test_works_without_deadlines_run_in_the_order_in_which_they_came(drive) -> None:
    works = [Work("t", 1, i * 1e-4) for i in range(50)]
    for max_batch in (1, 8):
        assert order(drive(station(alone(max_batch=max_batch)), linear(1e-3, 0)).play(works).runs) == works


def test_an_urgent_priority_passes_those_that_wait(drive) -> None:
    waiting = [Work("t", 1, 0.0) for _ in range(5)]
    urgent = Work("t", 1, 0.5e-3, priority=-1)
    played = drive(station(alone(max_batch=1)), lambda run, now: 1e-3).play([*waiting, urgent])
    assert order(played.runs)[1] is urgent


def test_works_of_different_form_or_pin_never_share_a_run(drive) -> None:
    random = Random(2)
    rungs = tuple(Rung(name, accuracy) for name, accuracy in (("a", 0.9), ("b", 0.8)))
    works = [
        Work("t", 1, 0.0, form=random.choice((None, "f", ("g", 2))), variant=random.choice((None, "a", "b")))
        for _ in range(300)
    ]
    played = drive(station(Ladder("t", rungs), cores=2), linear(1e-3, 1e-4)).play(works)
    assert len(played.answered) == 300
    for _, run in played.runs:
        assert len({(work.form, work.variant) for work in run.works}) == 1
    assert max(len(run.works) for _, run in played.runs) > 4


@pytest.mark.parametrize("batching", ["modelless", "static:8", "aimd", "clipper_v1", "clipper_v4"])
def test_the_largest_batch_is_exceeded_by_single_works_alone(drive, batching: str) -> None:
    random = Random(3)
    works = [Work("t", random.choice((1, 2, 5, 9)), 0.0, 10.0) for _ in range(300)]
    played = drive(station(alone(max_batch=7), batching=batching), linear(1e-3, 1e-4)).play(works)
    assert len(played.answered) == 300
    assert all(run.rows <= 7 or len(run.works) == 1 for _, run in played.runs)
    assert all(run.rows == sum(work.rows for work in run.works) for _, run in played.runs)


def test_floors_and_pins_are_held_at_any_load(drive) -> None:
    random, rungs = Random(4), LADDER.rungs
    works = poisson(2000, 0.5, 30e-3)
    for work in works:
        work.floor = random.choice((0.0, 0.0, 0.9, 0.955, 0.98))
        work.variant = random.choice((None, None, None, "v2", "v5"))
    played = drive(station(LADDER, cores=2), TIMES).play(works)
    rung = {rung.variant: rung for rung in rungs}
    assert played.answered
    assert all(answers(rung[run.variant], work) for work, (_, run) in played.answered.items())
    unanswerable = {work for work in works if not any(answers(each, work) for each in rungs)}
    assert unanswerable
    assert all(played.refused[work].retry_after_s == inf for work in unanswerable)


# What callers are told


def test_a_cancelled_work_never_runs(drive) -> None:
    made = station(alone(max_batch=1))
    works = [Work("t", 1, 0.0) for _ in range(4)]
    played = drive(made, lambda run, now: 1e-3)
    told: list[bool] = []
    for when, work in ((0.5e-3, works[2]), (0.6e-3, works[2]), (0.6e-3, works[0]), (9.0, works[1])):
        played.at(when, lambda work=work: told.append(made.cancel(work)))
    played.play(works)
    assert told == [True, False, False, False]
    assert set(played.answered) == {works[0], works[1], works[3]}


def test_whoever_cannot_be_answered_is_told_when_that_is_certain(drive) -> None:
    made = station(alone(max_batch=1))
    long, short = Work("t", 1, 0.0), Work("t", 1, 1.0, 3.0)
    played = drive(made, lambda run, now: 10.0).play([long, short])
    assert played.expired == {short: 3.0}
    assert list(played.answered) == [long]


def test_what_expires_is_told_though_all_cores_are_busy_and_many_wait(drive) -> None:
    works = [Work("t", 1, 0.0), *(Work("t", 1, 0.5, 1.0 + i / 10) for i in range(20))]
    played = drive(station(alone(max_batch=1)), lambda run, now: 100.0).play(works)
    assert {work: pytest.approx(when) for work, when in played.expired.items()} == {w: w.deadline for w in works[1:]}


@pytest.mark.parametrize("patience_s", [-inf, -1.0, 0.0])
@pytest.mark.parametrize("ladder", [alone(), alone(max_batch=1), alone(a=1e-3, b=1e-3)])
def test_what_comes_after_its_deadline_is_told_so_at_once_and_never_runs(
    drive, patience_s: float, ladder: Ladder
) -> None:
    works = [Work("t", 1, 1.0, 1.0 + patience_s) for _ in range(3)]
    late = [Work("t", 1, 2.0)]
    played = drive(station(ladder), linear(1e-3, 1e-3)).play([*works, *late])
    assert played.hopeless | played.expired == dict.fromkeys(works, 1.0)
    assert list(played.answered) == late


def test_too_many_that_wait_are_refused(drive) -> None:
    works = [Work("t", 1, 0.0) for _ in range(10)]
    played = drive(station(alone(max_batch=1), waiting=4), lambda run, now: 1.0).play(works)
    assert (len(played.answered), len(played.refused)) == (4, 6)
    assert all(0 < refused.retry_after_s < inf for refused in played.refused.values())


def test_a_task_that_is_not_offered_is_no_task() -> None:
    made = station(alone())
    with pytest.raises(KeyError):
        made.arrive(Work("other", 1, 0.0), 0.0)
    assert (made.withdraw("other"), made.cancel(Work("other", 1, 0.0)), made.waiting("other")) == ([], False, 0)
    made.resident("other", "m", 1)


def test_what_waits_for_a_variant_that_is_offered_no_more_is_refused(drive) -> None:
    made = station(Ladder("t", (Rung("a", 0.9), Rung("b", 0.8))))
    works = [Work("t", 1, 0.0), Work("t", 1, 0.1, floor=0.85), Work("t", 1, 0.2, variant="a"), Work("t", 1, 0.3)]
    played = drive(made, lambda run, now: 1.0)
    played.at(0.5, lambda: made.offer(Ladder("t", (Rung("b", 0.8),)), 0.5))
    played.play(works)
    assert [work in played.answered for work in works] == [True, False, False, True]
    assert "0.85" in played.refused[works[1]].reason
    assert "no variant a" in played.refused[works[2]].reason


def test_a_withdrawn_task_frees_its_core_and_teaches_nothing(drive) -> None:
    made = station(alone(max_batch=1))
    works = [Work("t", 1, 0.0), Work("t", 1, 0.0), Work("t", 1, 0.0)]
    for work in works:
        assert made.arrive(work, 0.0) is None
    (run,) = made.act(0.0)
    assert isinstance(run, Run)
    assert made.withdraw("t") == works[1:]
    made.offer(alone(max_batch=1), 0.5)
    made.finished(run, 1.0, 1.0)
    assert made.free == 1
    assert not made.service("t", "m").known
    assert (made.act(1.0), made.wake_at(1.0)) == ([], None)


# Works that need no hurry


@pytest.mark.parametrize("batching", ["modelless", "none", "static:4", "aimd", "clipper_v1", "clipper_v4"])
@pytest.mark.parametrize("cores", [1, 2])
def test_a_task_without_deadlines_runs_everything_it_has(drive, batching: str, cores: int) -> None:
    works = [Work("t", 1, 0.0) for _ in range(1000)]
    played = drive(station(alone(), cores=cores, batching=batching), linear(1e-3, 1e-4)).play(works)
    assert len(played.answered) == 1000
    begun = {when for when, _ in played.runs}
    assert played.now <= 1000 * 1.2e-3 / cores * 1.2
    if batching == "modelless":
        assert max(run.rows for _, run in played.runs) == 64
    assert len(begun) > 2


def test_all_cores_are_used_while_anything_waits(drive) -> None:
    made = station(alone(max_batch=4, a=0.1e-3, b=0.1e-3), cores=3)
    played = drive(made, linear(0.1e-3, 0.1e-3)).play(Work("t", 1, 0.0) for _ in range(60))
    assert played.now <= 3.0e-3  # 2.5 ms, and a run on three threads to see what it takes


# Waiting for one more


def holding() -> Station:
    """One core, a run of 4 ms and 1 ms a row, a work each half a millisecond."""
    made = station(alone(a=4e-3, b=1e-3))
    for i in range(40):
        work = Work("t", 1, i * 0.5e-3)
        made.arrive(work, work.arrived)
        made.cancel(work)
    return made


def test_one_work_waits_for_the_next_where_that_pays_and_no_longer_than_two_gaps() -> None:
    made = holding()
    work = Work("t", 1, 20e-3, 1.0)
    assert made.arrive(work, 20e-3) is None
    assert made.act(20e-3) == []
    until = made.wake_at(20e-3)
    assert until is not None
    assert 20e-3 < until <= 20e-3 + 2 * 0.55e-3
    assert made.act((20e-3 + until) / 2) == []
    (run,) = made.act(until)
    assert isinstance(run, Run)
    assert run.works == (work,)


def test_nobody_waits_for_rows_that_come_faster_than_a_timer_could_tell() -> None:
    made = station(alone(a=1e-3, b=1e-6))
    for i in range(40):
        work = Work("t", 1, i * 2e-5, 1.0)
        made.arrive(work, i * 2e-5)
        made.cancel(work)
    assert made.arrive(Work("t", 1, 8e-4, 1.0), 8e-4) is None
    assert [type(action) for action in made.act(8e-4)] == [Run]


def test_the_one_that_was_waited_for_ends_the_wait() -> None:
    made = holding()
    works = [Work("t", 1, 20e-3, 1.0), Work("t", 1, 20.1e-3, 1.0)]
    made.arrive(works[0], 20e-3)
    assert made.act(20e-3) == []
    made.arrive(works[1], 20.1e-3)
    (run,) = made.act(20.1e-3)
    assert isinstance(run, Run)
    assert run.works == tuple(works)


def test_nobody_waits_for_others_where_time_is_short_or_a_core_is_left() -> None:
    made = holding()
    made.arrive(Work("t", 1, 20e-3, 26e-3), 20e-3)
    assert len(made.act(20e-3)) == 1
    two = station(alone(a=4e-3, b=1e-3), cores=2)
    for i in range(40):
        work = Work("t", 1, i * 0.5e-3, 1.0)
        two.arrive(work, i * 0.5e-3)
        if i < 39:
            two.cancel(work)
    (run,) = two.act(20e-3)
    assert isinstance(run, Run)


def test_others_do_not_wait_for_a_task_that_waits_for_more() -> None:
    made = holding()
    made.offer(alone("other"), 20e-3)
    made.arrive(Work("t", 1, 20e-3, 1.0), 20e-3)
    assert made.act(20e-3) == []
    made.arrive(Work("other", 1, 20.1e-3), 20.1e-3)
    (run,) = made.act(20.1e-3)
    assert isinstance(run, Run)
    assert run.task == "other"


# Sharing the cores


def core_time(runs: Iterable[tuple[float, Run]], took: Took, until: float = inf) -> Counter[str]:
    spent: Counter[str] = Counter()
    for when, run in runs:
        if when < until:
            spent[run.task] += run.threads * took(run, when)
    return spent


def fixed(times: dict[str, float]) -> Took:
    return lambda run, now: times[run.task]


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("times", [(1e-3, 1e-3), (1e-3, 7e-3)])
def test_tasks_that_always_want_the_cores_get_them_by_weight(
    drive, cores: int, weights: tuple[float, float], times: tuple[float, float]
) -> None:
    took = fixed(dict(zip("ab", times, strict=True)))
    made = station(*(alone(n, max_batch=1, weight=w) for n, w in zip("ab", weights, strict=True)), cores=cores)
    works = [Work(name, 1, 0.0) for name in "ab" for _ in range(800)]
    played = drive(made, took).play(works, until=0.4)
    spent = core_time(played.runs, took, 0.4)
    share = weights[0] / sum(weights)
    # Within the length of a run for each core and weight.
    assert spent["a"] == pytest.approx(0.4 * cores * share, abs=cores * max(times) * max(weights) / min(weights))


def test_a_task_that_was_away_gains_no_credit(drive) -> None:
    took = fixed({"a": 1e-3, "b": 1e-3})
    made = station(alone("a", max_batch=1), alone("b", max_batch=1))
    works = [Work("a", 1, 0.0) for _ in range(2500)]
    works += [Work("b", 1, 2.0) for _ in range(500)]
    played = drive(made, took).play(works, until=2.2)
    back = [(when, run) for when, run in played.runs if 2.0 <= when < 2.2]
    assert core_time(back, took)["b"] == pytest.approx(0.1, abs=2e-3)


def test_nor_does_one_beside_a_caller_that_sends_one_work_at_a_time(drive) -> None:
    took = fixed({"a": 1e-3, "b": 1e-3})
    made = station(alone("a", max_batch=1), alone("b", max_batch=1))
    played = drive(made, took)

    def again(work: Work) -> None:
        if work.task == "a":
            played.submit([Work("a", 1, played.now)])

    played.then = again
    played.play([Work("a", 1, 0.0), *(Work("b", 1, 2.0) for _ in range(500))], until=2.2)
    back = [(when, run) for when, run in played.runs if 2.0 <= when < 2.2]
    assert core_time(back, took)["a"] == pytest.approx(0.1, abs=3e-3)


def test_a_task_that_is_offered_again_gains_no_credit(drive) -> None:
    took = fixed({"a": 1e-3, "b": 1e-3})
    made = station(alone("a", max_batch=1), alone("b", max_batch=1))
    played = drive(made, took)
    played.at(2.0, lambda: (made.withdraw("b"), made.offer(alone("b", max_batch=1), 2.0)))
    works = [Work("a", 1, 0.0) for _ in range(2500)] + [Work("b", 1, 2.1) for _ in range(500)]
    played.play(works, until=2.3)
    back = [(when, run) for when, run in played.runs if 2.1 <= when < 2.3]
    assert core_time(back, took)["b"] == pytest.approx(0.1, abs=2e-3)


def test_several_tasks_at_three_times_what_can_be_done_keep_what_they_accepted(drive) -> None:
    ladders = [alone(name, weight=weight) for name, weight in (("a", 1.0), ("b", 1.0), ("c", 2.0))]
    works = [w for i, ladder in enumerate(ladders) for w in poisson(4500, 1.5, 20e-3, seed=i, task=ladder.task)]
    took = linear(0.4e-3, 0.25e-3)
    played = drive(station(*ladders, cores=2), took).play(works)
    accepted = sum(w.arrived >= 0.5 for w in works) - sum(w.arrived >= 0.5 for w in played.refused)
    assert played.missed(0.5) <= 0.015 * accepted
    good = Counter(w.task for w, (end, _) in played.answered.items() if w.arrived >= 0.5 and end <= w.deadline)
    assert good["c"] == pytest.approx(good["a"] + good["b"], rel=0.15)
    assert sum(good.values()) >= 0.9 * 7000


def test_a_light_task_is_not_hurt_by_an_overloaded_one(drive) -> None:
    heavy = poisson(10_000, 1.0, 20e-3, seed=1, task="heavy")
    light = poisson(200, 1.0, 20e-3, seed=2, task="light")
    played = drive(station(alone("heavy"), alone("light")), linear(0.4e-3, 0.25e-3)).play([*heavy, *light])
    assert sum(work in played.answered for work in light) >= 0.97 * len(light)


# Batches


def test_batches_shrink_within_ten_runs_when_everything_takes_twice_as_long_and_grow_back(drive) -> None:
    a, b, random = 1e-3, 0.5e-3, Random(5)

    def took(run: Run, now: float) -> float:
        return (2.0 if 1.0 <= now < 2.0 else 1.0) * (a + b * run.rows) * exp(random.gauss(0, 0.03))

    played = drive(station(alone()), took)
    played.play(poisson(5000, 3.0, 20e-3))

    def rows(since: float, until: float, skip: int = 0) -> float:
        each = [run.rows for when, run in played.runs if since <= when < until][skip:]
        return sum(each) / len(each)

    usual, slowed = rows(0.5, 1.0), rows(1.0, 2.0, skip=10)
    assert 2 * (a + b * slowed) <= 10e-3 < 2 * (a + b * usual)  # half of the patience
    assert rows(2.0, 3.0, skip=10) >= 0.85 * usual


@pytest.mark.parametrize("profiled", [True, False])
def test_strict_callers_are_let_in_again_after_a_time_in_which_nobody_could_be_in_time(drive, profiled: bool) -> None:
    ladder = alone(a=0.2e-3, b=0.05e-3) if profiled else alone()

    def took(run: Run, now: float) -> float:
        return (50 if 2.0 <= now < 4.0 else 1) * (0.2e-3 + 0.05e-3 * run.rows)

    works = poisson(500, 8.0, 5e-3)
    played = drive(station(ladder), took).play(works)
    assert played.in_time(since=5.0) > 0.97 * sum(work.arrived >= 5.0 for work in works)
    # Meanwhile few are let in, one at a time.
    tried = [run for now, run in played.runs if 2.5 <= now < 4.0]
    assert 10 < len(tried) < 50
    assert all(len(run.works) == 1 for run in tried)


def test_what_was_never_possible_is_never_tried(drive) -> None:
    works = [Work("t", 1, i * 0.5, i * 0.5 + 5e-3) for i in range(20)]
    played = drive(station(alone(a=50e-3, b=1e-3)), linear(50e-3, 1e-3)).play(works)
    assert (len(played.hopeless), played.runs) == (20, [])


def test_one_slow_run_shrinks_no_batches_for_long(drive) -> None:
    slow = iter([50.0])

    def took(run: Run, now: float) -> float:
        return (1e-3 + 0.5e-3 * run.rows) * (next(slow, 1.0) if now > 0.5 else 1.0)

    played = drive(station(alone()), took).play(poisson(2500, 1.5, 20e-3))

    def rows(since: float, until: float) -> float:
        each = [run.rows for when, run in played.runs if since <= when < until]
        return sum(each) / len(each)

    assert rows(0.9, 1.5) >= 0.8 * rows(0.3, 0.5)


# Overload

SHAPES = {"flat": (4.8e-3, 0.66e-3), "steep": (0.8e-3, 2e-3), "by the row": (40e-6, 4e-3)}


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_goodput_does_not_fall_as_load_rises_and_accepted_works_are_in_time(drive, shape: str, cores: int) -> None:
    a, b = SHAPES[shape]
    patience_s, until, since = 50e-3, 5.0, 1.0
    fits = max(1, int((patience_s * cores / (cores + 1) / 1.1 - a) / b))
    capacity = cores * fits / (a + b * fits)
    good = {}
    for load in (0.9, 1.5, 3.0):
        works = poisson(load * capacity, until, patience_s)
        played = drive(station(alone(), cores=cores), linear(a, b)).play(works)
        accepted = sum(w.arrived >= since for w in works) - sum(w.arrived >= since for w in played.refused)
        assert played.missed(since) <= 0.01 * accepted
        good[load] = played.in_time(since) / (until - since)
    assert good[3.0] >= 0.95 * max(good.values())
    assert good[3.0] >= 0.85 * capacity


@pytest.mark.parametrize("strict", [0.1, 0.9])
def test_strict_callers_beside_patient_ones_are_kept_or_refused(drive, strict: float) -> None:
    a, b = 0.4e-3, 0.25e-3
    works = poisson(strict * 11_000, 1.2, 20e-3, seed=1) + poisson((1 - strict) * 11_000, 1.2, 0.5, seed=2)
    played = drive(station(alone(), cores=2), linear(a, b)).play(works)
    accepted = [w for w in works if w.deadline - w.arrived < 0.1 and w.arrived >= 0.4 and w not in played.refused]
    missed = sum(w not in played.answered or played.answered[w][0] > w.deadline for w in accepted)
    assert len(accepted) > 100
    assert missed <= 0.03 * len(accepted)


def test_works_that_cannot_share_runs_are_kept_or_refused(drive) -> None:
    random = Random(7)
    works = poisson(6000, 1.0, 20e-3)
    for work in works:
        work.form = random.randrange(100)
    played = drive(station(alone()), linear(0.4e-3, 0.25e-3)).play(works)
    accepted = sum(w.arrived >= 0.3 for w in works) - sum(w.arrived >= 0.3 for w in played.refused)
    assert played.missed(0.3) <= 0.01 * accepted
    assert played.in_time(0.3) / 0.7 >= 0.9 / (0.4e-3 + 0.25e-3)


# Switching

VARIANTS = {"v0": (0.99, 20e-3), "v1": (0.975, 9e-3), "v2": (0.96, 4e-3), "v3": (0.935, 1.6e-3), "v4": (0.9, 0.8e-3)}
VARIANTS["v5"] = (0.86, 0.4e-3)


def seconds(variant: str, rows: int) -> float:
    """Almost half of a run is for itself."""
    return VARIANTS[variant][1] * (0.45 + 0.55 * rows)


def rung(variant: str, load_s: float = 0.2) -> Rung:
    service = {1: measured(0.45 * VARIANTS[variant][1], 0.55 * VARIANTS[variant][1])}
    return Rung(variant, VARIANTS[variant][0], 64, service, load_s)


LADDER = Ladder("t", tuple(rung(variant) for variant in VARIANTS))
NOISE = Random(6)


def TIMES(run: Run, now: float) -> float:
    return seconds(run.variant, run.rows) * exp(NOISE.gauss(0, 0.05))


def right(played, works: Sequence[Work]) -> float:
    """Effective accuracy: late and missing answers are as wrong as wrong ones."""
    each = (VARIANTS[run.variant][0] for w, (end, run) in played.answered.items() if end <= w.deadline)
    return sum(each) / len(works)


def test_works_are_answered_by_cheaper_variants_before_any_is_refused(drive) -> None:
    shares = {}
    for load in (20, 150, 600, 2500):
        works = poisson(load, 2.0, 60e-3)
        played = drive(station(LADDER, cores=2), TIMES).play(works)
        assert len(played.refused) + played.missed() <= 0.01 * len(works)
        shares[load] = right(played, works)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert shares[20] >= 0.985
    works = poisson(20_000, 0.4, 60e-3)
    played = drive(station(LADDER, cores=2), TIMES).play(works)
    assert len(played.refused) >= 0.3 * len(works)
    assert Counter(run.variant for _, run in played.answered.values()).most_common(1)[0][0] == "v5"


def test_switching_beats_every_single_variant_on_a_modulated_load(drive) -> None:
    works = modulated((30, 80, 150, 300), 1.0, 12.0, 40e-3)
    switching = right(drive(station(LADDER, cores=2), TIMES).play(works), works)
    single = {}
    for variant in VARIANTS:
        played = drive(station(Ladder("t", (rung(variant),)), cores=2), TIMES).play(works)
        single[variant] = right(played, works)
    assert switching > max(single.values())


# Loading


def test_nothing_is_loaded_that_is_there_and_what_is_there_answers(drive) -> None:
    played = drive(station(LADDER, cores=2), TIMES).play(poisson(300, 1.0, 60e-3))
    assert not played.loads
    made = station(LADDER, load=False)
    made.resident("t", "v2", 1)
    played = drive(made, TIMES, load_s=inf).play(poisson(3000, 0.2, 60e-3))
    assert {run.variant for _, run in played.runs} == {"v2"}


def test_what_is_not_loaded_runs_where_nothing_loaded_may_answer(drive) -> None:
    made = station(LADDER, load=False)
    made.resident("t", "v5", 1)
    works = [Work("t", 1, 0.0, floor=0.98), Work("t", 1, 0.0, variant="v3"), Work("t", 1, 1.0)]
    played = drive(made, TIMES, load_s=inf).play(works)
    assert [played.answered[work][1].variant for work in works] == ["v0", "v3", "v5"]


def test_a_core_that_loads_first_is_not_promised_to_others_meanwhile() -> None:
    made = station(LADDER, load=False)
    made.resident("t", "v5", 1)
    made.arrive(Work("t", 1, 0.0, variant="v3"), 0.0)
    assert len(made.act(0.0)) == 1
    assert isinstance(made.arrive(Work("t", 1, 0.0, 0.1), 0.0), Refuse)
    assert made.arrive(Work("t", 1, 0.0, 0.3), 0.0) is None


def test_a_variant_is_loaded_once_as_much_was_lost_without_it_as_loading_costs(drive) -> None:
    asked = {}
    for load_s in (0.2, 2.0):
        made = station(Ladder("t", (rung("v0", load_s), rung("v5", load_s))), load=False)
        made.resident("t", "v5", 1)
        played = drive(made, TIMES, load_s=load_s).play(poisson(20, 20.0, 60e-3))
        (first, *others) = [(when, load.variant) for when, load in played.loads]
        assert first[1] == "v0"
        assert not others
        asked[load_s] = first[0]
        after = {run.variant for when, run in played.runs if when > first[0] + load_s + 0.1}
        assert "v0" in after
    # At a steady load that is as long as loading takes, or where core time is dear longer.
    assert 0.1 <= asked[0.2] <= 1.0
    assert 1.0 <= asked[2.0] <= 6.0


@pytest.mark.parametrize("load_s", [0.0, 0.1])
def test_a_load_that_never_comes_is_asked_for_ever_more_seldom(drive, load_s: float) -> None:
    made = station(Ladder("t", (rung("v0", load_s), rung("v5", load_s))), load=False)
    made.resident("t", "v5", 1)
    played = drive(made, TIMES, load_s=inf).play(poisson(20, 100.0, 60e-3))
    times = [when for when, _ in played.loads]
    assert 3 <= len(times) <= 14
    assert times[-1] - times[-2] > 10 * max(load_s, LEAST_LOAD_S)


@pytest.mark.parametrize("max_batch", [1, 64])
@pytest.mark.parametrize(("on_two_s", "most_of"), [(2e-3, 2), (2.6e-3, 2), (3.5e-3, 2), (5e-3, 1)])
def test_without_deadlines_more_threads_are_loaded_tried_and_used_where_they_are_quicker(
    drive, on_two_s: float, most_of: int, max_batch: int
) -> None:
    made = station(alone(a=1e-3, b=3e-3, max_batch=max_batch), cores=2, load=False)
    made.resident("t", "m", 1)
    played = drive(made, lambda run, now: 4e-3 if run.threads == 1 else on_two_s, load_s=0.1)
    played.then = lambda work: played.submit([Work("t", 1, played.now)] if played.now < 5.0 else [])
    played.play([Work("t", 1, 0.0)])
    assert [load.threads for _, load in played.loads] == [2]
    later = [run.threads for when, run in played.runs if when > 1.0]
    assert later.count(most_of) >= 0.98 * len(later)


# What it costs


def calls(of: Callable[[], object]) -> int:
    """Calls of Python functions, which do not depend on how fast they are."""
    counted = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal counted
        counted += event == "call"

    gc.disable()  # it calls what others left behind
    sys.setprofile(count)
    try:
        of()
    finally:
        sys.setprofile(None)
        gc.enable()
    return counted


def test_idle_tasks_cost_nothing() -> None:
    def cost(tasks: int) -> int:
        made = station(*(alone(f"t{i}", a=1e-3, b=1e-3) for i in range(tasks)), cores=2)
        work = Work("t0", 1, 0.0, 1.0)

        def turn() -> None:
            made.arrive(work, 0.0)
            (run,) = made.act(0.0)
            made.wake_at(0.0)
            assert isinstance(run, Run)
            made.finished(run, 2e-3, 2e-3)

        return calls(turn)

    assert cost(3000) == cost(1)


def test_tasks_that_wait_cost_a_run_of_another_nothing() -> None:
    def cost(tasks: int) -> int:
        made = station(*(alone(f"t{i}", a=1e-3, b=1e-3) for i in range(tasks)), cores=1)
        for i in range(tasks):
            for _ in range(3):
                made.arrive(Work(f"t{i}", 1, 0.0, 10.0), 0.0)
        (run,) = made.act(0.0)
        assert isinstance(run, Run)

        def turn() -> None:
            made.finished(run, 2e-3, 2e-3)
            made.arrive(Work("t0", 1, 2e-3, 10.0), 2e-3)
            assert len(made.act(2e-3)) == 1
            made.wake_at(2e-3)

        return calls(turn)

    assert cost(1000) <= 1.2 * cost(10)


def test_a_long_queue_costs_little_more_than_a_short_one() -> None:
    def cost(waiting: int) -> int:
        made = station(alone(a=1e-6, b=1e-6), cores=2)
        works = [Work("t", 1, 0.0, 10.0 + i % 7) for i in range(waiting)]
        for work in works:
            assert made.arrive(work, 0.0) is None

        def turn() -> None:
            made.arrive(Work("t", 1, 0.0, 12.0), 0.0)
            runs = [action for action in made.act(0.0) if isinstance(action, Run)]
            made.wake_at(0.0)
            made.finished(runs[0], 2e-3, 2e-3)
            made.cancel(works[waiting // 2])

        return calls(turn)

    assert cost(4000) <= 1.5 * cost(400)


# Unknown and strange times


@pytest.mark.parametrize("took", [0.0, 1e-12, 1e-3])
@pytest.mark.parametrize("cores", [1, 2])
def test_runs_of_no_time_break_nothing(drive, took: float, cores: int) -> None:
    works = poisson(2000, 0.3, 20e-3)
    played = drive(station(alone(), cores=cores), lambda run, now: took).play(works)
    assert len(played.answered) == len(works)


def test_callers_with_deadlines_are_served_by_what_never_ran(drive) -> None:
    ladder = Ladder("t", tuple(Rung(f"v{i}", 0.9 - i / 100, 16) for i in range(6)))
    works = poisson(1500, 1.0, 30e-3)
    played = drive(station(ladder, cores=2), lambda run, now: (8e-3 - 1.5e-3 * int(run.variant[1])) * 0.3).play(works)
    assert played.in_time(0.3) >= 0.99 * sum(work.arrived >= 0.3 for work in works)


def test_what_is_let_in_without_a_closer_look_is_what_a_closer_look_lets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(11)
    looked: list[Work] = []
    closer = Station._lateness

    def spy(self: Station, task: Served, work: Work, *rest: Any) -> float:
        looked.append(work)
        return closer(self, task, work, *rest)

    monkeypatch.setattr(Station, "_lateness", spy)
    quick = 0
    for trial in range(60):
        made = station(alone(a=1e-3, b=random.choice((0.05e-3, 1e-3)), max_batch=64), cores=1)
        now = 0.0
        for _ in range(60):
            now += random.expovariate(3000)
            rows, priority = random.choice((1, 1, 1, 40)), random.choice((0, 0, 0, 1))
            work = Work("t", rows, now, now + random.choice((20e-3, 20e-3, 30e-3, 6e-3)), priority=priority)
            looked.clear()
            free, queue = made.free, made.waiting("t")
            if made.arrive(work, now) is None and not looked:
                quick += 1
                made.cancel(work)
                task = made._tasks["t"]
                assert task.outlook is not None
                late = closer(made, task, work, task.outlook.paces, now, max(now, task.outlook.free_at))
                assert late <= 0, (trial, free, queue, work)
                task.queue.add(work)
                made._waiting["t"] = task
            if random.random() < 0.2:
                made.act(now)
    assert quick > 100


def test_a_work_of_many_rows_is_not_let_in_as_if_it_had_one() -> None:
    made = station(alone(a=1e-3, b=1e-3))
    assert isinstance(made.arrive(Work("t", 64, 0.0, 20e-3), 0.0), Expire)


def test_what_is_late_because_of_another_task_is_refused_and_not_tried() -> None:
    made = station(alone("busy"), alone("quiet", a=1e-3, b=1e-9))
    made.arrive(Work("busy", 1, 0.0), 0.0)
    assert len(made.act(0.0)) == 1
    made.finished(*_first(made), 10.0)
    made.arrive(Work("busy", 1, 10.0), 10.0)
    assert len(made.act(10.0)) == 1  # ten seconds, as is known
    for i in range(5):
        now = 11.0 + i
        assert isinstance(made.arrive(Work("quiet", 1, now, now + 0.1), now), Refuse)


def _first(made: Station) -> tuple[Run, float]:
    """The run that goes on, and that it takes ten seconds."""
    return next(iter(made._going.values())).run, 10.0


def test_what_looks_slow_recovers_beside_another_that_is_asked_for_by_name() -> None:
    rungs = (Rung("a", 0.9, 1, {1: measured(1e-3, 1e-9)}), Rung("b", 0.8, 1, {1: measured(1e-3, 1e-9)}))
    made = station(Ladder("t", rungs))
    slow = Run(0, "t", "b", 1, (), 1, 1e-3)
    for _ in range(8):
        made._tasks["t"].learn(slow, 50e-3)
    now, accepted = 0.0, 0
    for i in range(4000):
        now += 2e-3
        made.arrive(Work("t", 1, now, now + 20e-3, variant="a"), now)
        (run,) = made.act(now)
        made.finished(run, 1e-3, now + 1e-3)
        if i % 10 == 0:
            pinned = Work("t", 1, now, now + 5e-3, variant="b")
            accepted += made.arrive(pinned, now + 1e-3) is None
            made.cancel(pinned)
    assert accepted > 50


def test_a_core_that_nothing_wanted_has_no_overhead() -> None:
    made = station(alone(a=2e-3, b=1e-9, max_batch=1))
    for i in range(100):
        now = 10.0 * i
        last = Work("t", 1, now, now + 1.0)
        made.arrive(Work("t", 1, now), now)
        (run,) = made.act(now)
        made.arrive(last, now)
        if i % 2:
            made.finished(run, 2e-3, now + 2e-3)
            made.cancel(last)
        else:
            made.finished(run, 1.0, now + 1.0)  # and the other one expires
        assert not any(isinstance(action, Run) for action in made.act(now + 1.0))
    assert made.service("t", "m").overhead_s == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("rows", "deadline"), [(0, 1.0), (-1, 1.0), (1, float("nan"))])
def test_a_work_without_rows_or_whose_deadline_is_no_number_is_no_work(rows: int, deadline: float) -> None:
    made = station(alone(a=1e-3, b=1e-3))
    with pytest.raises(ValueError, match="row and a deadline"):
        made.arrive(Work("t", rows, 0.0, deadline), 0.0)
    assert (made.waiting("t"), made.act(0.0)) == (0, [])


def test_what_keeps_a_core_from_the_next_run_is_learnt_where_works_wait_for_it() -> None:
    """Runs of 2 ms end 0.3 ms late, and another 0.2 ms pass until the next one begins."""
    made = station(alone(a=2e-3, b=1e-9, max_batch=1))
    for _ in range(200):
        made.arrive(Work("t", 1, 0.0), 0.0)
    now, began = 0.0, made.act(0.0)
    for _ in range(150):
        now += 2.3e-3
        made.finished(began[0], 2e-3, now)
        now += 0.2e-3
        began = made.act(now)
    assert made.service("t", "m").overhead_s == pytest.approx(0.5e-3, rel=0.01)
    # What begins on a core that was idle waited for nothing.
    made = station(alone(a=2e-3, b=1e-9, max_batch=1))
    for _ in range(150):
        made.arrive(Work("t", 1, now), now)
        run = made.act(now)[0]
        made.finished(run, 2e-3, now + 2.3e-3)
        now += 10e-3
    assert made.service("t", "m").overhead_s == pytest.approx(0.3e-3, rel=0.01)


def test_a_failed_run_teaches_nothing() -> None:
    made = station(alone())
    made.arrive(Work("t", 1, 0.0), 0.0)
    (run,) = made.act(0.0)
    assert isinstance(run, Run)
    made.finished(run, 5.0, 5.0, ok=False)
    assert not made.service("t", "m").known
    assert made.free == 1
    made.finished(run, 5.0, 5.0)  # once is enough
    assert made.free == 1
    assert not isinstance(made.arrive(Work("t", 1, 5.0), 5.0), Refuse)
