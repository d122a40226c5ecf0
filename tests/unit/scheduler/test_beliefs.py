"""What one placement's outcomes say of it and of its tier."""

from __future__ import annotations

import math
from random import Random

import pytest

from scheduler.beliefs import MOST, TOLERANCE, Moved, Pace, TierBeliefs, Weighed
from scheduler.coverage import FADES_S, NO_MARGINS, STEP

TWICE = math.log(2)


def fed(beliefs: TierBeliefs, placement: str, ratio: float, count: int = 60, now: float = 0.0) -> TierBeliefs:
    for _ in range(count):
        beliefs = beliefs.served(placement, ratio, 0.05, now)
    return beliefs


def test_nothing_is_believed_without_outcomes() -> None:
    assert TierBeliefs().pace("a") == Pace()
    assert TierBeliefs().pace("a").now(5.0) == 0.0


def test_a_pace_follows_outcomes() -> None:
    assert fed(TierBeliefs(), "a", TWICE).pace("a").log == pytest.approx(TWICE, rel=0.1)
    assert fed(TierBeliefs(), "a", -TWICE).pace("a").log == pytest.approx(-TWICE, rel=0.1)


def test_outcomes_as_profiled_change_nothing_exactly() -> None:
    for ratio in (0.0, TOLERANCE / 2, -TOLERANCE / 2):
        beliefs = fed(TierBeliefs(), "a", ratio)
        assert (beliefs.pace("a").log, beliefs.shared.log) == (0.0, 0.0)


def test_a_placement_without_outcomes_moves_by_half_of_what_the_only_other_says() -> None:
    beliefs = fed(TierBeliefs(), "a", TWICE)
    assert beliefs.pace("b").log == pytest.approx(TWICE / 2, rel=0.1)


def test_many_placements_together_say_that_the_tier_is_slow() -> None:
    beliefs = TierBeliefs()
    for name in "abcdefgh":
        beliefs = fed(beliefs, name, TWICE)
    assert beliefs.pace("z").log == pytest.approx(TWICE * 8 / 9, rel=0.1)


def test_one_placement_that_is_far_off_says_little_of_the_others() -> None:
    beliefs = fed(TierBeliefs(), "a", math.log(50))
    assert beliefs.pace("a").log == pytest.approx(math.log(50), rel=0.1)
    assert 0.0 < beliefs.pace("b").log <= TWICE / 2


def test_a_placement_that_does_as_profiled_is_not_taken_for_its_slow_neighbour() -> None:
    beliefs = fed(fed(TierBeliefs(), "a", 0.0), "b", TWICE)
    assert beliefs.pace("a").log == pytest.approx(0.0, abs=TOLERANCE)
    assert beliefs.pace("b").log > 0.6


def test_a_pace_fades_to_the_profile() -> None:
    pace = fed(TierBeliefs(), "a", TWICE).pace("a")
    assert pace.now(FADES_S) == pytest.approx(pace.log / math.e)
    assert pace.now(100 * FADES_S) == pytest.approx(0.0, abs=1e-9)


def test_what_has_faded_does_not_come_back_with_an_outcome_that_agrees_with_what_is_left() -> None:
    beliefs = fed(TierBeliefs(), "a", TWICE)
    left = beliefs.pace("b").now(FADES_S)
    after = beliefs.served("b", left, 0.05, FADES_S)
    assert after.pace("b").now(FADES_S) == pytest.approx(left, abs=TOLERANCE)


def test_a_pace_is_bounded() -> None:
    assert fed(TierBeliefs(), "a", 1e9).pace("a").log <= MOST
    assert fed(TierBeliefs(), "a", -1e9).pace("a").log >= -MOST


def test_margins_fade_between_outcomes() -> None:
    first = TierBeliefs().predicted("t", (1.0,) * 10, 2.0, 0.0)
    assert first.moved["t"].margins[7] == pytest.approx(0.95 * STEP)
    second = first.predicted("t", (1.0,) * 10, 2.0, FADES_S)
    assert second.moved["t"].margins[7] == pytest.approx(0.95 * STEP * (1 + math.exp(-1)))
    assert Moved().now(FADES_S) == NO_MARGINS


def test_margins_are_each_tasks_own() -> None:
    one = TierBeliefs().predicted("t", (1.0,) * 10, 2.0, 0.0)
    both = one.predicted("other", (1.0,) * 10, 0.5, 1.0)
    assert both.moved["t"] is one.moved["t"]
    assert both.moved["other"] == TierBeliefs().predicted("other", (1.0,) * 10, 0.5, 1.0).moved["other"]


def test_what_is_believed_of_others_can_be_dropped() -> None:
    beliefs = fed(fed(TierBeliefs(), "a", TWICE), "b", TWICE)
    beliefs = beliefs.predicted("t", (1.0,) * 10, 2.0, 0.0).predicted("other", (1.0,) * 10, 2.0, 0.0)
    assert beliefs.only({"a", "b"}, {"t", "other"}) is beliefs
    kept = beliefs.only({"a"}, {"t", "new"})
    assert (set(kept.drifts), set(kept.paces), set(kept.moved)) == ({"a"}, {"a"}, {"t"})
    assert kept.pace("new") == beliefs.pace("new") != Pace()
    assert beliefs.only((), ()).pace("new") == Pace()


def test_what_placements_say_together_is_kept_as_their_outcomes_come() -> None:
    random, beliefs, now = Random(3), TierBeliefs(), 0.0
    for _ in range(300):
        now += random.expovariate(0.05)
        beliefs = beliefs.served(f"p{random.randrange(9)}", random.gauss(0.4, 0.3), 0.1, now)
    anew = Weighed.of(beliefs.drifts.values(), now)
    assert (beliefs.weighed.weights, beliefs.weighed.total) == pytest.approx((anew.weights, anew.total))
    assert beliefs.weighed.pace == pytest.approx(anew.total / (anew.weights + 1.0))
    left = beliefs.only({"p1", "p2"}, set())
    assert left.weighed == Weighed.of(left.drifts.values(), now)
