"""What outcomes say of a placement's pace: changes are found soon, and noise is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest

from scheduler.coverage import FADES_S
from scheduler.drift import LEARNT, WINDOW, Drift

Noise = Callable[[Random], float]


def gauss(random: Random) -> float:
    return random.gauss(0, 1)


def student(random: Random) -> float:
    """Student's t with 3 degrees of freedom, scaled to a Gaussian's quartiles."""
    return random.gauss(0, 1) / math.sqrt(sum(random.gauss(0, 1) ** 2 for _ in range(3)) / 3) / 1.134


def stragglers(random: Random) -> float:
    """One of twenty 16 spreads late: five times as long, for a spread of 10 %."""
    return random.gauss(0, 1) + (16.0 if random.random() < 0.05 else 0.0)


def skewed(random: Random) -> float:
    return 1.6 * (random.expovariate(1.0) - math.log(2))


NOISES = (gauss, student, stragglers, skewed)


def feed(drift: Drift, ratios: list[float], spread: float = 0.1, step_s: float = 0.01) -> tuple[Drift, int]:
    """The drift after these outcomes, and how many of them made a change."""
    changes, now = 0, 0.0 if drift.at == -math.inf else drift.at
    for ratio in ratios:
        now += step_s
        drift, changed = drift.after(ratio, spread, now)
        changes += changed
    return drift, changes


def samples(noise: Noise, seed: int, count: int, *, spread: float = 0.1, shift: float = 0.0) -> list[float]:
    random = Random(seed)
    return [shift + spread * noise(random) for _ in range(count)]


@pytest.mark.parametrize("noise", NOISES)
def test_a_steady_placement_gives_few_false_alarms(noise: Noise) -> None:
    alarms = sum(feed(Drift(), samples(noise, seed, 1000))[1] for seed in range(6))
    assert alarms / 6 <= (4.0 if noise is skewed else 1.0)  # in a thousand outcomes


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("factor", [1.2, 0.8, 2.0, 0.5])
def test_a_change_is_found_within_fifty_outcomes(noise: Noise, factor: float) -> None:
    delays = []
    for seed in range(20):
        drift, _ = feed(Drift(), samples(noise, seed, 150))
        noticed = 100
        for i, ratio in enumerate(samples(noise, seed + 100, 100, shift=math.log(factor)), start=1):
            drift, _ = feed(drift, [ratio])
            if drift.median / math.log(factor) > 0.5:
                noticed = i
                break
        delays.append(noticed)
    delays.sort()
    assert delays[len(delays) // 2] <= (13 if 0.7 < factor < 1.3 else 5)
    assert delays[-2] <= 50


def test_a_recovery_is_found_from_three_outcomes_after_a_short_spell() -> None:
    drift, _ = feed(Drift(), samples(gauss, 1, 60, spread=0.03), spread=0.03)
    drift, slower = feed(drift, [math.log(2)] * 5, spread=0.03)
    drift, faster = feed(drift, [0.0] * 3, spread=0.03)
    assert (slower, faster) == (1, 1)
    assert abs(drift.median) < 0.01


def test_one_straggler_is_no_change() -> None:
    drift, _ = feed(Drift(), samples(gauss, 2, 40, spread=0.03))
    assert feed(drift, [math.log(50), 0.0, math.log(50)])[1] == 0


def test_the_window_holds_the_newest_and_its_median_is_exact() -> None:
    ratios = [0.001 * i for i in range(100)]
    drift, changes = feed(Drift(), ratios)
    assert changes == 0
    assert drift.ratios == tuple(ratios[-WINDOW:])
    assert drift.median == pytest.approx((ratios[-WINDOW // 2] + ratios[-WINDOW // 2 - 1]) / 2)


def test_nothing_is_looked_for_before_something_is_learnt() -> None:
    assert feed(Drift(), [5.0] * LEARNT)[1] == 0
    assert Drift().error == math.inf


def test_what_is_long_ago_is_forgotten() -> None:
    drift, _ = feed(Drift(), [1.0] * 40)
    late, _ = drift.after(0.0, 0.1, drift.at + 3 * FADES_S)
    assert late.ratios == (1.0, 1.0, 0.0)
    gone, _ = drift.after(0.0, 0.1, drift.at + 100 * FADES_S)
    assert gone.ratios == (0.0,)
