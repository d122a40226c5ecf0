"""SlackFit: the bucket of the largest latency within the slack, and in it the largest batch."""

from __future__ import annotations

import math
from typing import Any

import pytest

from simulator.policies.slackfit import BUCKETS, SlackFit, buckets

MODELS = {"slow": (0.9, {1: 200.0, 2: 360.0}), "fast": (0.7, {1: 40.0, 2: 60.0})}


@pytest.mark.parametrize(
    ("waiting", "left_ms", "chosen"),
    [
        (1, 1000.0, ("t/slow", 1)),
        (2, 1000.0, ("t/slow", 2)),
        (2, 359.0, ("t/slow", 1)),
        (2, 199.0, ("t/fast", 2)),
        (2, 59.0, ("t/fast", 1)),
        (2, 39.0, ("t/fast", 1)),
    ],
)
def test_work_that_just_fits_the_slack(build: Any, waiting: int, left_ms: float, chosen: tuple[str, int]) -> None:
    policy = SlackFit(build(MODELS, "box"), copies=1)
    policy.tick(0.0)

    option, batch = policy.pick("t", waiting, left_ms, 0.0)

    assert (option.placement.variant, batch) == chosen


def test_within_a_bucket_the_larger_batch_wins(build: Any) -> None:
    models = {"slow": (0.9, {1: 200.0, 2: 400.0}), "fast": (0.7, {1: 20.0, 2: 190.0})}
    policy = SlackFit(build(models, "box"), copies=1)
    policy.tick(0.0)

    option, batch = policy.pick("t", 2, 210.0, 0.0)

    assert (option.placement.variant, batch) == ("t/fast", 2), "190 and 200 ms are in one bucket of 23.75 ms"


def test_buckets_are_of_equal_width(build: Any) -> None:
    policy = SlackFit(build(MODELS, "box"), copies=1)
    policy.tick(0.0)

    sorted_in = buckets(policy.found["t"], math.inf)

    assert len(sorted_in) == BUCKETS
    assert [i for i, bucket in enumerate(sorted_in) if bucket] == [0, 1, 8, 15]


def test_buckets_end_at_the_bound_and_leave_out_what_another_beats(build: Any) -> None:
    """Between 40 and 200 ms each is 10 ms wide; 360 ms are beyond the bound, and `lame` is beaten in everything."""
    policy = SlackFit(build(MODELS | {"lame": (0.6, {1: 190.0, 2: 195.0})}, "box"), copies=1)
    policy.tick(0.0)

    sorted_in = buckets(policy.found["t"], 200.0)

    held = {i: [(c.option.placement.variant, c.batch) for c in bucket] for i, bucket in enumerate(sorted_in) if bucket}
    assert held == {0: [("t/fast", 1)], 2: [("t/fast", 2)], 15: [("t/slow", 1)]}
