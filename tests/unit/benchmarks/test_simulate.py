"""The benchmark of the simulator itself."""

from __future__ import annotations

import pytest

from benchmarks import simulate


def test_it_reports_both_policies(monkeypatch) -> None:
    monkeypatch.setattr(simulate, "QUICK", 40)
    monkeypatch.setattr(simulate, "REPEATS", 2)
    monkeypatch.setattr(simulate, "TASKS", (2,))
    rows = simulate.rows(True)
    assert [(row["policy"], row["tasks"]) for row in rows] == [("static", 2), ("modelless", 2)]
    for row in rows:
        assert row["per_minute"] * row["us_per_request"] == pytest.approx(60e6)
        assert 0 < row["us_low"] <= row["us_per_request"] <= row["us_high"]
        assert row["requests"] > 0
