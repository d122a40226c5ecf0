"""The baselines do what their papers say: count by the second, switch by the table, avoid what is overloaded."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baselines import Fixed, Infaas, ModelSwitching, Oracle, Static, setting_for
from scheduler.work import Run, Work

BIG, SMALL = Fixed("big", 2), Fixed("small", 1, batch=4)
TABLE = [(10.0, BIG), (100.0, SMALL)]
ACCURACY = {"big": 0.9, "small": 0.5}


def curve(variant: str, threads: int, rows: int) -> float:
    return (0.1 if variant == "big" else 0.01) * rows


def work(now: float, patience: float = 1.0) -> Work:
    return Work("t", 1, now, now + patience)


def ran(decider: Static, now: float) -> list[tuple[str, int, int]]:
    return [(a.variant, a.threads, a.rows) for a in decider.act(now) if isinstance(a, Run)]


@pytest.mark.parametrize(("load", "setting"), [(0, BIG), (10, BIG), (10.1, SMALL), (100, SMALL), (1e9, SMALL)])
def test_a_load_has_the_first_setting_that_reaches_it(load: float, setting: Fixed) -> None:
    assert setting_for(TABLE, load) == setting


def test_model_switching_looks_once_a_second() -> None:
    decider = ModelSwitching(2, TABLE, curve)
    for i in range(50):
        decider.arrive(work(i / 50), i / 50)
    assert decider.setting == BIG
    decider.control(0.999)
    assert decider.setting == BIG
    decider.control(1.0)
    assert decider.setting == SMALL


def test_a_second_without_arrivals_is_no_load() -> None:
    decider = ModelSwitching(2, TABLE, curve)
    for _ in range(50):
        decider.arrive(work(0.5), 0.5)
    decider.control(3.5)
    assert decider.setting == BIG


def test_the_oracle_knows_the_second_that_begins() -> None:
    times = np.concatenate([np.linspace(0, 0.9, 5), np.linspace(1, 1.9, 60)])
    decider = Oracle(2, TABLE, curve, times)
    decider.control(0.0)
    assert decider.setting == BIG
    decider.control(1.0)
    assert decider.setting == SMALL
    decider.control(5.0)
    assert decider.setting == BIG


def test_a_static_setting_takes_its_threads() -> None:
    decider = Static(2, BIG, curve)
    for _ in range(3):
        decider.arrive(work(0.0), 0.0)
    assert ran(decider, 0.0) == [("big", 2, 1)]
    assert ran(decider, 0.0) == []


def test_what_a_caller_gave_up_on_waits_no_more() -> None:
    decider, asked = Static(1, SMALL, curve), work(0.0)
    decider.arrive(asked, 0.0)
    assert decider.cancel(asked)
    assert not decider.cancel(asked)
    assert decider.withdraw("t") == []


def test_infaas_takes_the_most_accurate_that_keeps_the_bound() -> None:
    decider = Infaas(2, ACCURACY, curve, deadline_s=0.5, batches=(1, 2, 4))
    decider.arrive(work(0.0), 0.0)
    assert ran(decider, 0.0) == [("big", 1, 1)]
    strict = Infaas(2, ACCURACY, curve, deadline_s=0.05, batches=(1, 2, 4))
    strict.arrive(work(0.0), 0.0)
    assert ran(strict, 0.0) == [("small", 1, 1)]


def test_infaas_leaves_what_is_overloaded_until_it_is_not() -> None:
    decider = Infaas(2, ACCURACY, curve, deadline_s=0.5, batches=(1, 2, 4))
    for i in range(40):  # twice the profiled peak of the big one, 20 a second
        decider.arrive(work(i / 40), i / 40)
    decider.arrive(work(1.0), 1.0)
    decider.arrive(work(2.5), 2.5)
    chosen = {variant: len(queue) for variant, queue in decider._queues.items()}
    assert chosen == {"big": 41, "small": 1}
