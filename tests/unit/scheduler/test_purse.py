"""What is given and not spent may be spent later, within bounds."""

from __future__ import annotations

import math

import pytest

from scheduler.purse import Purse


def test_the_first_time_nothing_was_given() -> None:
    assert Purse().give(100.0, 2.0, 0.1) == 1.0


def test_what_is_left_over_raises_the_budget_up_to_e() -> None:
    purse = Purse()
    purse.give(0.0, 2.0, 0.1)
    assert purse.give(0.05, 2.0, 0.1) == pytest.approx(math.exp(0.5))
    assert purse.give(1000.0, 2.0, 0.1) == pytest.approx(math.e)


def test_what_is_overspent_lowers_it_down_to_the_inverse() -> None:
    purse = Purse()
    purse.give(0.0, 2.0, 0.1)
    purse.spend(0.1)
    assert purse.give(0.0, 2.0, 0.1) == pytest.approx(math.exp(-0.5))
    purse.spend(5.0)
    assert purse.give(0.0, 2.0, 0.1) == pytest.approx(1 / math.e)


def test_spending_what_is_given_changes_nothing() -> None:
    purse = Purse()
    for step in range(100):
        factor = purse.give(step * 0.01, 2.0, 0.1)
        purse.spend(0.02)
    assert factor == pytest.approx(1.0, rel=0.25)


@pytest.mark.parametrize("most_s", [0.0, math.inf])
def test_works_without_a_patience_have_no_account(most_s: float) -> None:
    purse = Purse()
    purse.give(0.0, 2.0, most_s)
    purse.spend(3.0)
    assert purse.give(1.0, 2.0, most_s) == 1.0


def test_what_was_spent_before_anything_was_given_is_no_debt() -> None:
    purse = Purse()
    purse.spend(1e6)
    assert purse.give(0.0, 2.0, 0.1) == 1.0
