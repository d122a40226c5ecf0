"""What the scale benchmark reports of one small case, and how it puts growth in figures."""

from __future__ import annotations

import pytest

from benchmarks.scale import _exponent, case


def test_a_case_answers_all_that_comes_in_time() -> None:
    found = case(3, 50.0, 60)
    assert found["attainment"] == 1.0
    assert found["requests"] == pytest.approx(60, abs=40)
    assert found["environments"] >= 2
    for figure in ("decision_us", "decision_p99_us", "simulated_us", "controller_ms"):
        assert found[figure] > 0.0


def test_growth_is_a_power_of_the_tasks_between_rows_of_one_rate() -> None:
    rows = [
        {"tasks": 10, "rate": 1.0, "controller_ms": 2.0},
        {"tasks": 1000, "rate": 1.0, "controller_ms": 200.0},
        {"tasks": 1000, "rate": 9.0, "controller_ms": 100.0},
    ]
    assert [_exponent(rows, i) for i in range(3)] == [None, pytest.approx(1.0), None]
