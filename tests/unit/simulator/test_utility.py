"""What answers are worth less what they cost."""

from __future__ import annotations

import pytest

from simulator.utility import VALUE_USD, share_of, utility


def test_right_answers_are_worth_their_value_less_all_dollars() -> None:
    assert utility(800.0, 0.3, 0.01) == pytest.approx(7.7)
    assert utility(1000.0, 0.0) == pytest.approx(1000 * VALUE_USD)


def test_a_share_of_what_can_be_gained() -> None:
    assert share_of(3.0, 4.0) == 0.75
    assert share_of(-2.0, 4.0) == -0.5
    assert share_of(0.0, 0.0) == 1.0
    assert share_of(-2.0, 0.0) == -1.0
