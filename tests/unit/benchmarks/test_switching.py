"""What the switching benchmark trains, plays and reports, on a profile that is made up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks import switching
from benchmarks.ladder import Made
from benchmarks.switching import OURS, PUBLISHED, Case, Lengths, Setup, train, virtual
from benchmarks.switching_profile import BATCHES, THREADS, Profile, Sampler
from benchmarks.virtual import Outcomes
from scheduler.work import Run

MADE = [Made("large", Path("l"), 0.97), Made("middle", Path("m"), 0.94), Made("small", Path("s"), 0.85)]
SECONDS = {"large": 0.02, "middle": 0.005, "small": 0.0004}


@pytest.fixture
def setup() -> Setup:
    noise = np.linspace(0.95, 1.05, 21)
    samples = {
        (name, threads, rows): SECONDS[name] * (0.5 + 0.5 * rows) * (1.0 if threads == 1 else 0.6) * noise
        for name in SECONDS
        for threads in THREADS
        for rows in BATCHES
    }
    return Setup.of(MADE, Profile(samples))


def test_capacity_and_low_load_latency_are_of_the_better_threads(setup: Setup) -> None:
    assert setup.capacity == pytest.approx(2 / 0.02)
    assert setup.p99_s == pytest.approx(0.012 * 1.05, rel=0.01)


def test_medians_between_batch_sizes_lie_on_a_line(setup: Setup) -> None:
    assert setup.profile.median("large", 1, 3) == pytest.approx(0.02 * 2.0)


def test_drawn_times_are_the_measured_ones(setup: Setup) -> None:
    sampler = Sampler(setup.profile, seed=1)
    drawn = [sampler(Run(i, "t", "large", 1, (), 3, 0.0)) for i in range(400)]
    assert np.median(drawn) == pytest.approx(0.04, rel=0.02)
    assert 0.04 * 0.949 <= min(drawn) <= max(drawn) <= 0.04 * 1.051
    again = Sampler(setup.profile, seed=1)
    assert [again(Run(i, "t", "large", 1, (), 3, 0.0)) for i in range(400)] == drawn


def test_tables_get_cheaper_as_load_rises(setup: Setup) -> None:
    trained = train(setup, 0.03, 2.0)
    cost = [SECONDS[setting.variant] for _, setting in trained.batched]
    assert cost[0] == SECONDS["large"]
    assert cost == sorted(cost, reverse=True)
    assert all(setting.batch == 1 for _, setting in trained.published)
    assert set(trained.static) == set(SECONDS)


def test_ours_beats_every_static_variant_and_the_one_second_table(setup: Setup) -> None:
    lengths = Lengths(cell=0, sweep=2.0, virtual=20.0, seeds=2, real=0.0)
    with ThreadPoolExecutor(1) as workers:
        rows = virtual(setup, {0.03: train(setup, 0.03, 2.0)}, lengths, workers)
    for dwell in (20.0, 3.0):
        found = {row["policy"]: row for row in rows if row["dwell_s"] == dwell}
        ours = found[OURS]["effective_accuracy"]
        assert found[OURS]["ours_ahead"] == 0.0
        for name, row in found.items():
            if name.startswith("static:") or name == PUBLISHED:
                assert ours > row["effective_accuracy"], name
        assert found[OURS]["of_oracle"] >= 0.97


def test_rows_have_the_fields_that_are_promised(setup: Setup) -> None:
    outcomes = Outcomes(np.array([0.0, 1.0]), [0.01, 1.5], ["large", "small"])
    (row, _) = switching._rows(setup, Case("virtual", 0.1, 3.0, 60.0), {OURS: [outcomes], "oracle": [outcomes]})
    wanted = {"deadline_ms", "dwell_s", "policy", "effective_accuracy", "attainment", "switches_per_min"}
    assert wanted <= row.keys()
    assert row["effective_accuracy"] == pytest.approx(0.97 / 2)
    assert row["attainment"] == 0.5


def test_a_lead_is_the_median_of_differences_of_parts(setup: Setup) -> None:
    arrived = np.arange(100) / 10
    ours = Outcomes(arrived, (arrived + 0.01).tolist(), ["large"] * 100)
    theirs = Outcomes(arrived, (arrived + 0.01).tolist(), ["middle"] * 50 + ["large"] * 50)
    runs = {OURS: [ours], PUBLISHED: [theirs], "oracle": [ours]}
    (_, row, _) = switching._rows(setup, Case("virtual", 0.1, 3.0, 10.0), runs)
    assert row["effective_accuracy"] == pytest.approx((0.97 + 0.94) / 2)
    assert (row["ours_ahead_low"], row["ours_ahead_high"]) == (pytest.approx(0.0), pytest.approx(0.03))
    assert row["of_oracle"] == pytest.approx((0.97 + 0.94) / 2 / 0.97)


def test_the_lengths_of_runs_are_options(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(switching, "rows", lambda quick, seconds: asked.append((quick, seconds)) or [{"a": 1}])
    assert switching.main(["--quick", "--real", "12"]) == 0
    assert switching.main(["--virtual", "0"]) == 0
    assert switching.main([]) == 0
    assert asked == [(True, {"real": 12.0}), (False, {"virtual": 0.0}), (False, {})]
