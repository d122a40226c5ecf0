"""What a baseline keeps in mind of its arrivals, and of what failed."""

from __future__ import annotations

from math import inf
from typing import Any

from simulator.policies.tracking import AGAIN_S, Baseline, Rate
from simulator.policy import Ended, Invoke, Reject


def rate_of(*seconds: float) -> Rate:
    rate = Rate()
    for second in seconds:
        rate.add(second)
    return rate


def test_only_whole_seconds_that_are_over_count() -> None:
    rate = rate_of(0.1, 0.2, 1.5, 2.9, 3.0)

    assert rate.mean(3.5, 1) == 1.0
    assert rate.mean(3.5, 3) == 4 / 3


def test_the_peak_of_windows() -> None:
    rate = rate_of(0.0, 1.0, 1.1, 1.2, 2.0, 3.0)

    assert rate.peak(4.0, 4) == 3.0
    assert rate.peak(4.0, 4, width=2) == 2.0
    assert rate.peak(100.0, 4) == 0.0


def test_old_seconds_are_forgotten() -> None:
    rate = Rate(keep_s=2)
    for second in (0.0, 5.0):
        rate.add(second)

    assert rate.mean(6.0, 6) == 1 / 6


def test_what_failed_is_tried_again_in_a_moment_and_refused_once_late(build: Any, ask: Any) -> None:
    catalogue = build({"a": (0.9, {1: 10.0})}, "small")
    policy, job = Baseline(catalogue), ask(0.0)
    (placement,) = catalogue.placements.values()
    failed = Ended(Invoke(placement, (job,)), 0.5, False, "throttled", False, False, 0.0, "")

    assert list(policy.ended(failed, 0.5)) == []
    assert policy.wake_at() == 0.5 + AGAIN_S
    (refused,) = policy.wake(1.5)
    assert isinstance(refused, Reject)
    assert refused.job is job
    assert policy.wake_at() == inf
