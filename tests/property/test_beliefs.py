"""What holds of beliefs, whatever the outcomes are."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import synthetic
from registry.model import LEVELS, Slo
from scheduler.beliefs import MOST, TierBeliefs
from scheduler.choose import choose
from scheduler.coverage import NO_MARGINS, REACH, STEP, after
from scheduler.events import Measured
from scheduler.fleet import Fleet
from scheduler.quantiles import SCORES
from scheduler.requests import Request

CATALOGUE = synthetic.catalogue(12)
PLACEMENTS = sorted(CATALOGUE.profiles)
times = st.floats(0.0, 1e7, allow_subnormal=False)
outcomes = st.lists(
    st.tuples(st.sampled_from(PLACEMENTS[:4]), times, st.none() | times, st.floats(0.0, 50.0)), max_size=60
)


def lived(history: list[tuple[str, float, float | None, float]]) -> tuple[Fleet, float]:
    """A fleet after these answers: placement, latency, service and seconds since the last, each as then predicted."""
    fleet, now = Fleet.empty(CATALOGUE), 0.0
    for placement, latency_ms, service_ms, seconds in history:
        now += seconds
        decision = choose(Request(synthetic.TASK, Slo()), CATALOGUE, fleet, now)
        expected = next(e.quantiles_ms for e in decision.ranked if e.placement.id == placement)
        fleet = fleet.apply(Measured(placement, 1, latency_ms, expected, service_ms, now))
    return fleet, now


@settings(max_examples=60)
@given(outcomes, st.floats(1.0, 99.9), st.integers(1, 70))
def test_expectations_stay_finite_ordered_and_bounded(history, percentile: float, rows: int) -> None:
    fleet, now = lived(history)
    request = Request(synthetic.TASK, Slo(latency_ms=50.0, percentile=percentile), rows)
    before = {e.placement.id: e for e in choose(request, CATALOGUE, Fleet.empty(CATALOGUE), now).ranked}
    for e in choose(request, CATALOGUE, fleet, now).ranked:
        profiled = before[e.placement.id]
        assert all(a <= b for a, b in pairwise(e.quantiles_ms))
        assert 0.0 <= e.on_time <= LEVELS[-1]
        assert e.quantiles_ms[0] > 0.0
        most = math.exp(MOST) * math.exp(0.5 * (REACH + SCORES[-1] - SCORES[0])) * profiled.quantiles_ms[-1]
        assert e.quantiles_ms[-1] <= most
        assert 0.0 <= e.cost_usd <= profiled.cost_usd * math.exp(MOST) * 1.001 + 1e-6


@settings(max_examples=40)
@given(outcomes, st.floats(1.0, 99.9))
def test_what_had_no_outcomes_for_long_is_as_profiled(history, percentile: float) -> None:
    fleet, now = lived(history)
    request, later = Request(synthetic.TASK, Slo(percentile=percentile)), now + 1e5
    live, profiled = (choose(request, CATALOGUE, f, later).ranked for f in (fleet, Fleet.empty(CATALOGUE)))
    by_id = {e.placement.id: e for e in profiled}
    for e in live:
        assert math.isclose(e.latency_ms, by_id[e.placement.id].latency_ms, rel_tol=1e-9)
        assert math.isclose(e.cost_usd, by_id[e.placement.id].cost_usd, rel_tol=1e-9)


@settings(max_examples=60)
@given(st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=400))
def test_no_sequence_of_outcomes_is_late_more_often_than_a_level_allows(scores: list[float]) -> None:
    """Gibbs & Candès 2021, proposition 4.1: late at a level at most (1 - level) T + (reach + STEP) / STEP times."""
    margins, late = NO_MARGINS, [0] * len(LEVELS)
    for score in scores:
        predicted = tuple(z + m for z, m in zip(SCORES, margins, strict=True))
        late = [n + (score > ms) for n, ms in zip(late, predicted, strict=True)]
        margins = after(margins, predicted, score)
        assert all(a <= b for a, b in pairwise(z + m for z, m in zip(SCORES, margins, strict=True)))
    for level, z, n in zip(LEVELS, SCORES, late, strict=True):
        # A margin that is above what any outcome needs makes none late, so it rises no further than one step above.
        highest = max(0.0, 3.0 - z) + STEP
        assert n <= (1.0 - level) * len(scores) + highest / STEP + 1e-6


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e3, 1e3), st.floats(0.0, 400.0)), max_size=80))
def test_paces_are_bounded_and_fade(history) -> None:
    beliefs, now = TierBeliefs(), 0.0
    for placement, ratio, seconds in history:
        now += seconds
        beliefs = beliefs.served(placement, ratio, 0.1, now)
        for name in "abcd":
            pace = beliefs.pace(name)
            assert abs(pace.log) <= MOST
            assert abs(pace.now(now + 1000.0)) <= abs(pace.now(now))
