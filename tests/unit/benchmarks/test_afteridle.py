"""How first requests become rows, and when a page counts as gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.afteridle import CASES, Case, First, _dropped, _row
from registry.model import Accuracy, Recipe, StartMode, Variant

PREFERRED = Variant("digits", "large", "blake3:" + "0" * 64, Recipe("train"), Accuracy(0.98, 0.97, 0.99, 500, "wilson"))
CASE = Case(StartMode.ONDEMAND, "session", "modelless")


def first(ms: float, variant: str, accuracy: float) -> First:
    return First(ms, f"digits/{variant}", "process-1769", accuracy, 0.0)


def test_a_substitute_costs_accuracy_and_keeps_the_slo() -> None:
    firsts = [
        first(10.0, "small", 0.96),
        first(20.0, "small", 0.96),
        first(30.0, "large", 0.98),
        first(99.0, "large", 0.98),
    ]

    row = _row(CASE, firsts, PREFERRED, slo_ms=30.0)

    assert row["within_slo"] == 0.75
    assert row["substitute_share"] == 0.5
    assert row["accuracy_lost"] == pytest.approx(0.01)
    assert row["answered_by"] == "large 2, small 2"
    assert (row["p50_ms"], row["requests"]) == (25.0, 4)


def test_only_the_naive_is_bound_to_a_cold_start_of_the_preferred() -> None:
    assert {case.depth for case in CASES if case.policy == "modelless"} == {"process", "session", "page"}
    assert {case.starts for case in CASES if case.policy == "naive"} == {StartMode.ONDEMAND}


def test_every_page_of_a_file_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(bytes(10_000))

    pages, out = _dropped(file)

    assert pages == 3
    assert 0 <= out <= pages
    assert file.read_bytes() == bytes(10_000)
