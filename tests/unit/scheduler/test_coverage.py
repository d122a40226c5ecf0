"""Margins follow outcomes, so that percentiles hold in the long run."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest

from registry.model import LEVELS
from scheduler.coverage import FADES_S, NO_MARGINS, REACH, STEP, after, faded
from scheduler.quantiles import SCORES

P95 = LEVELS.index(0.95)
PREDICTED = tuple(range(1, len(LEVELS) + 1))


def test_a_late_outcome_moves_every_missed_level_up_and_the_others_down() -> None:
    moved = after(NO_MARGINS, PREDICTED, 5.5)
    late = [ms < 5.5 for ms in PREDICTED]
    assert moved == pytest.approx([STEP * (missed - (1 - p)) for missed, p in zip(late, LEVELS, strict=True)])


def test_without_an_answer_only_levels_that_are_missed_already_move() -> None:
    late = [STEP * p if ms < 5.5 else 0.0 for ms, p in zip(PREDICTED, LEVELS, strict=True)]
    assert after(NO_MARGINS, PREDICTED, 5.5, answered=False) == pytest.approx(late)


def test_margins_end_within_reach_and_scores_ascend_with_levels() -> None:
    margins = NO_MARGINS
    for latency in (100.0,) * 500 + (0.0,) * 100 + (100.0, 0.0) * 50:
        margins = after(margins, PREDICTED, latency)
        assert all(abs(margin) <= REACH + SCORES[-1] - SCORES[0] for margin in margins)
        assert all(a <= b for a, b in pairwise(z + m for z, m in zip(SCORES, margins, strict=True)))


def test_a_margin_comes_back_when_outcomes_are_as_predicted() -> None:
    random, margins = Random(1), NO_MARGINS
    for _ in range(40):
        margins = after(margins, PREDICTED, 100.0)
    assert margins[P95] > 3.0
    for _ in range(3000):
        score = random.gauss(0, 1)
        margins = after(margins, tuple(z + m for z, m in zip(SCORES, margins, strict=True)), score)
    assert abs(margins[P95]) < 0.5


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_95th_percentile_covers_95_percent_however_wrong_the_spread_is(scale: float) -> None:
    random, margins, within = Random(2), NO_MARGINS, 0
    for i in range(6000):
        predicted = tuple(z + m for z, m in zip(SCORES, margins, strict=True))
        latency = scale * random.gauss(0, 1)
        within += i >= 1000 and latency <= predicted[P95]
        margins = after(margins, predicted, latency)
    assert within / 5000 == pytest.approx(0.95, abs=0.006)


def test_beliefs_fade() -> None:
    assert faded(10.0, 10.0) == 1.0
    assert faded(11.0, 10.0) == 1.0  # events of other threads may be a moment ahead
    assert faded(10.0, 10.0 + FADES_S) == pytest.approx(math.exp(-1))
    assert faded(-math.inf, 0.0) == 0.0
