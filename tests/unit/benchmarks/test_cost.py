"""The day of sporadic requests: how it is made of a trace, how its load grows, and what its rows say."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cost
from registry.prices import figures

MINUTES = 120


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trace of twelve applications, of which the last six are asked for every other minute and more often."""
    apps = tmp_path / "azure2019_femux"
    apps.mkdir()
    header = ",".join(["HashApp", *(str(minute + 1) for minute in range(MINUTES))])
    every = [40, 30, 24, 20, 15, 12, 2, 2, 2, 1, 1, 1]
    rows = [f"app{i}," + ",".join(str(int(m % gap == 0)) for m in range(MINUTES)) for i, gap in enumerate(every)]
    with gzip.open(apps / "containers_per_min_100apps.csv.gz", "wt") as file:
        file.write("\n".join([header, *rows]))
    return tmp_path


def test_the_sporadic_half_is_that_with_the_fewest_active_minutes(folder: Path) -> None:
    counts = cost.sporadic(folder)

    assert counts.sum(axis=1).tolist() == [3, 4, 5, 6, 8, 10]


def test_a_day_is_the_same_for_a_seed_and_places_requests_within_their_minutes(folder: Path) -> None:
    counts = cost.sporadic(folder)
    first, again, other = (cost.day(counts, seed) for seed in (0, 0, 1))

    assert first.requests == other.requests == counts.sum()
    assert first.seconds == MINUTES * 60
    assert all(np.array_equal(a.times, b.times) for a, b in zip(first.streams, again.streams, strict=True))
    assert not np.array_equal(first.streams[0].times, other.streams[0].times)
    minutes = sorted(tuple((stream.times // 60).astype(int)) for stream in first.streams)
    assert minutes == sorted(tuple(np.flatnonzero(row)) for row in counts)


def test_a_part_of_a_day_is_its_busiest(folder: Path) -> None:
    of_day = cost.day(cost.sporadic(folder), 0, window_s=60.0)

    assert of_day.seconds == 60.0
    assert of_day.requests == 6  # the minute in which all are asked for


def test_a_load_is_so_many_applications_each_at_its_own_time() -> None:
    row = np.array([0, 2, 0, 1])
    random = np.random.default_rng(0)

    assert cost.superposed(row, 1, random).tolist() == row.tolist()
    many = cost.superposed(row, 400, random)
    assert many.sum() == 400 * row.sum()
    assert many.min() > 200


def test_the_advantage_ends_where_the_costs_cross_or_less_is_attained() -> None:
    def at(rate: float, usd: float, attainment: float = 1.0) -> dict[str, dict[str, float]]:
        return {
            "per_model": {"usd_per_day": 100.0, "attainment": 1.0},
            "ours": {"rate": rate, "usd_per_day": usd, "attainment": attainment},
        }

    assert cost.ends_at([at(1, 10), at(100, 1000)], "per_model", "ours") == pytest.approx(10.0)
    assert cost.ends_at([at(1, 10), at(100, 20)], "per_model", "ours") is None
    assert cost.ends_at([at(1, 1000)], "per_model", "ours") == 0.0
    low = 1.0 - 2 * cost.TOLERANCE
    assert cost.ends_at([at(1, 10), at(100, 20, low)], "per_model", "ours") == pytest.approx(10.0)


def test_more_is_counted_for_ours_than_for_the_others(folder: Path) -> None:
    of_day = cost.day(cost.sporadic(folder), 0)
    system = cost.OTHERS["lambda_per_model"](of_day.apps, of_day.streams)
    policy = system.policy()
    outcome = cost.simulate(
        system.catalogue, of_day.streams, policy, seconds=of_day.seconds, seed=0, hardware=system.platform(policy)
    )

    plain, routed = (cost.front(outcome, 12.0, routed=routed) for routed in (False, True))
    assert plain == pytest.approx(36 * 12 * figures()["http_api"]["usd_per_request"])
    # An environment of 512 MB provisioned for a day, and 1,440 times two functions of as much for a second.
    assert routed - plain > 0.5 * 86_400 * 4.1667e-06 + 1_440 * 2 * 0.5 * 1.66667e-05
    assert cost.front(replace(outcome, latency_ms=outcome.latency_ms + 1000), 12.0, routed=True) > routed


def test_rows_have_figures_intervals_and_worths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SEEDS", 2)
    monkeypatch.setattr(cost, "WORTHS", (1e-3,))
    monkeypatch.setattr(cost, "QUICK_S", 600.0)
    rows = cost.compare(folder, quick=True)

    assert [row["system"] for row in rows] == [*cost.OTHERS, *cost.OURS]
    assert rows[0]["ratio_vs_per_model"] == 1.0
    for row in rows:
        assert row["usd_per_day_low"] <= row["usd_per_day"] <= row["usd_per_day_high"]
        kinds = sum(row[f"usd_{kind}"] for kind in (*cost.KINDS, "front"))
        assert row["usd_per_day"] == pytest.approx(kinds, rel=0.05)  # medians each
        assert [worth["worth_usd"] for worth in row["worths"]] == ([1e-3] if row["system"] in cost.OURS else [])
        assert len(row["loads"]) == 1


def test_missing_traces_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cost.main(["--quick", "--traces", str(tmp_path / "nowhere")])

    said = capsys.readouterr().err
    assert "containers_per_min_100apps.csv.gz" in said
    assert "--traces" in said
