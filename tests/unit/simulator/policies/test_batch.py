"""BATCH: the fitted process, the sizes of its buffers, and the cheapest setting that holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from registry.model import Slo
from simulator.policies.batch import Batch, Gaps, Setting, cost, fit, in_time, search, sizes
from simulator.policies.options import FUNCTIONS, options
from simulator.policy import Invoke

POISSON = Gaps(1.0, 10.0, 10.0)
"""Ten a second."""


def test_a_fit_has_the_mean_and_the_variance_of_the_gaps() -> None:
    found = np.array([0.1] * 90 + [2.0] * 10)

    gaps = fit(found.tolist())

    mean = gaps.share / gaps.first + (1 - gaps.share) / gaps.second
    square = 2 * (gaps.share / gaps.first**2 + (1 - gaps.share) / gaps.second**2) - mean**2
    assert mean == pytest.approx(found.mean())
    assert square == pytest.approx(found.var())
    assert gaps.mean_s == pytest.approx(found.mean())


def test_even_gaps_count_as_exponential_ones() -> None:
    assert fit([0.1, 0.1, 0.1]) == pytest.approx(Gaps(1.0, 10.0, 10.0))


def test_sizes_of_poisson_arrivals() -> None:
    found = sizes(POISSON, 3, 0.1)

    # One more than the arrivals within a mean gap: none, one, or more.
    expected = [math.exp(-1), math.exp(-1), 1 - 2 * math.exp(-1)]
    assert found.tolist() == pytest.approx(expected)
    assert sizes(POISSON, 1, 5.0).tolist() == [1.0]
    assert sizes(POISSON, 2, 0.0).tolist() == [1.0, 0.0]


def test_bursty_arrivals_fill_a_buffer_more_often() -> None:
    bursty = Gaps(0.9, 100.0, 1.0)

    assert sizes(bursty, 8, 0.1)[-1] > sizes(Gaps(1.0, 1 / bursty.mean_s, 1 / bursty.mean_s), 8, 0.1)[-1]


MODELS = {"a": (0.9, {1: 100.0, 2: 110.0, 4: 130.0}, {"large": {1: 60.0, 2: 66.0, 4: 78.0}})}


def test_cost_and_latency_by_hand(build: Any) -> None:
    (small,) = options(build(MODELS, "small"), "t", 95.0, FUNCTIONS)
    spread = np.array([0.5, 0.5])

    # 0.0001 a run and 0.01 a second: 0.0011 for one job, 0.0012 for two; three jobs in two runs.
    assert cost(small, spread) == pytest.approx((0.5 * 0.0011 + 0.5 * 0.0012) / 1.5)
    # Alone a job waits for all of the 100 ms and takes 100; of two, who wait up to the mean gap of 100, 90 fit 200.
    assert in_time(small, spread, 0.1, POISSON, 200.0) == pytest.approx((0.5 * 1 + 0.5 * 2 * 0.9) / 1.5)
    assert in_time(small, spread, 0.1, POISSON, 199.0) == pytest.approx(0.5 * 2 * 0.89 / 1.5)


def test_the_cheapest_setting_that_holds(build: Any) -> None:
    candidates = options(build(MODELS, "small", "large"), "t", 95.0, FUNCTIONS)

    loose = search(candidates, Gaps(1.0, 100.0, 100.0), Slo(latency_ms=1000.0))
    tight = search(candidates, Gaps(1.0, 100.0, 100.0), Slo(latency_ms=105.0))
    hopeless = search(candidates, Gaps(1.0, 100.0, 100.0), Slo(latency_ms=10.0))

    assert (loose.option.tier.name, loose.batch) == ("small", 4)
    assert tight.option.tier.name == "large", "there alone two jobs and their wait fit 105 ms"
    assert tight.batch > 1
    assert hopeless == Setting(next(o for o in candidates if o.tier.name == "large"), 1, 0.0)


def test_a_buffer_goes_when_it_is_full_or_its_first_job_waited_long_enough(build: Any, ask: Any) -> None:
    catalogue = build(MODELS, "small")
    policy = Batch(catalogue)
    first = [ask(i * 0.01) for i in range(99)]
    assert all(len(list(policy.arrive(job, job.arrived))) == 1 for job in first), "unbatched until there is a fit"
    assert list(policy.tick(1.0)) == []

    jobs = [ask(1.0 + i * 0.01) for i in range(5)]
    begun = [action for job in jobs for action in policy.arrive(job, job.arrived)]

    placement = catalogue.placements["t/a@small:1"]
    assert begun == [Invoke(placement, tuple(jobs[:4]))]
    due = policy.wake_at()
    assert 1.04 < due <= 1.04 + 0.8
    assert list(policy.wake(due)) == [Invoke(placement, (jobs[4],))]


def test_a_buffer_that_fills_many_times_over_is_full() -> None:
    """More jobs are expected within the timeout than a probability of none can be written for."""
    assert sizes(Gaps(1.0, 100.0, 100.0), 4, 60.0).tolist() == [0.0, 0.0, 0.0, 1.0]
