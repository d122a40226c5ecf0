"""Copies as their owner knows them, and one that obeys."""

from __future__ import annotations

from math import inf

import pytest

from scheduler.work import Ladder, Run, Rung, Work
from simulator.container import SCALE_IN_S, START_S
from simulator.policies.copies import Copies, Obedient


def test_a_copy_is_up_after_its_start() -> None:
    copies = Copies(1)

    copies.provision(3, 10.0)

    assert [copies.up(now) for now in (10.0, 9.0 + START_S, 10.0 + START_S)] == [1, 1, 3]


def test_what_is_not_up_goes_first_and_what_is_not_gone_is_taken_back() -> None:
    copies = Copies(1)
    copies.provision(2, 0.0)

    copies.provision(1, 1.0)
    assert copies.up(2.0) == 1
    copies.provision(0, 2.0)
    assert copies.up(2.0) == 0
    copies.provision(1, 3.0)
    assert copies.up(START_S) == 1, "the one that was on its way is up, as it was asked for"


def test_what_is_gone_starts_anew() -> None:
    copies = Copies(1)
    copies.provision(0, 0.0)

    copies.provision(1, SCALE_IN_S)

    assert copies.up(SCALE_IN_S) == 0
    assert copies.up(SCALE_IN_S + START_S) == 1


def work(variant: str | None, rows: int = 1) -> Work:
    return Work("t", rows, 0.0, inf, 0.0, variant)


def test_works_run_alone_in_order_as_cores_allow() -> None:
    copy = Obedient(2, [Ladder("t", (Rung("a"), Rung("b")))])
    for each in (work("a", 3), work("b"), work("a")):
        copy.arrive(each, 0.0)

    first, second = copy.act(0.0)
    assert isinstance(first, Run)
    assert isinstance(second, Run)
    assert [(run.variant, run.rows) for run in (first, second)] == [("a", 3), ("b", 1)]
    copy.finished(first, 1.0, 1.0)
    (third,) = copy.act(1.0)
    assert isinstance(third, Run)
    assert third.variant == "a"


def test_a_work_must_name_its_variant() -> None:
    with pytest.raises(ValueError, match="names no variant"):
        Obedient(1, []).arrive(work(None), 0.0)
