"""What to expect of tasks that were never asked for."""

from __future__ import annotations

import pytest

from scheduler.newcomers import DAY, Newcomers


def test_before_anything_is_known_one_in_a_day_is_expected() -> None:
    assert Newcomers().ahead() == pytest.approx(1 / DAY)


def test_minutes_of_waiting_in_vain_lower_it_and_first_requests_raise_it() -> None:
    newcomers = Newcomers()
    newcomers.close(waiting=DAY, asked=0)
    assert newcomers.ahead() == pytest.approx(1 / (2 * DAY))
    newcomers.close(waiting=DAY, asked=8)
    assert newcomers.ahead() == pytest.approx(9 / (3 * DAY))
