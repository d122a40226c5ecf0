"""Judgements drawn from a known truth: the interval holds it as often as it says, and a change of it is followed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.accuracy import share
from optimizer.judged import WINDOW, Hits

RUNS = 400


def judged(truth: float, rows: int, generator: np.random.Generator, start: Hits | None = None, by: int = 50) -> Hits:
    found = start or Hits()
    for done in range(0, rows, by):
        right = generator.random(min(by, rows - done)) < truth
        found = found.after(right, np.ones_like(right))
    return found


@pytest.mark.parametrize("truth", [0.7, 0.9, 0.97])
@pytest.mark.parametrize("rows", [40, 300])
def test_the_interval_covers_the_truth_about_19_times_of_20(truth: float, rows: int) -> None:
    generator = np.random.default_rng(int(truth * 1000) + rows)
    covered = 0
    for _ in range(RUNS):
        evaluation = share(int(generator.binomial(200, truth)), 200)
        found = judged(truth, rows, generator).reestimate(evaluation, generator).accuracy
        covered += found.low <= truth <= found.high
    # Within four standard errors (0.011) of 0.95.
    assert 0.906 < covered / RUNS < 0.994


@pytest.mark.parametrize("after", [0.3, 0.6, 0.8])
def test_after_a_change_the_interval_covers_the_new_truth(after: float) -> None:
    generator = np.random.default_rng(int(after * 100))
    covered = drifted = 0
    for _ in range(100):
        evaluation = share(int(generator.binomial(450, 0.97)), 450)
        found = judged(after, 400, generator, judged(0.97, 200, generator), by=10).reestimate(evaluation, generator)
        drifted += found.drifted
        covered += found.accuracy.low <= after <= found.accuracy.high
    assert drifted == 100
    assert covered >= 84  # five standard errors below 0.95


def test_nothing_changed_is_rarely_taken_for_a_change() -> None:
    generator = np.random.default_rng(1)
    alarms = 0
    for _ in range(60):
        evaluation = share(int(generator.binomial(450, 0.9)), 450)
        found = Hits()
        for _ in range(300):
            right = generator.random(1) < 0.9
            found = found.after(right, np.array([True]))
            if found.reestimate(evaluation, generator).drifted:
                alarms += 1
                break
    assert alarms <= 9  # one in twenty is expected; more than nine of sixty comes once in 900


@given(
    evaluated=st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    rows=st.lists(st.booleans(), min_size=1, max_size=2 * WINDOW),
)
def test_whatever_is_judged_the_estimate_is_an_accuracy(evaluated: tuple[int, int], rows: list[bool]) -> None:
    right = np.array(rows, bool)
    found = Hits().after(right, np.ones_like(right))
    accuracy = found.reestimate(share(*evaluated), np.random.default_rng(0)).accuracy
    assert found.rows <= WINDOW
    assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
    assert accuracy.rows <= evaluated[1] + len(rows)
