from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.load_measured import Measured


def measured(*requests: tuple[float, float, float, int], seconds: float = 10.0) -> Measured:
    """A run of (intended, sent, done, status)."""
    intended, sent, done, status = np.array(requests, dtype=np.float64).reshape(-1, 4).T
    index = np.zeros(len(requests), dtype=np.int64)
    return Measured(intended, sent, done, status.astype(np.int64), index, (), {}, 0.5, seconds)


def test_latency_counts_from_the_intended_time() -> None:
    found = measured((1.0, 1.5, 2.0, 200), (2.0, 2.0, 2.25, 429))
    assert found.latency_ms.tolist() == [1000.0, 250.0]
    assert found.lag_ms.tolist() == [500.0, 0.0]


def test_no_answer_is_an_infinite_latency() -> None:
    found = measured((0.0, 0.0, 1.0, 200), (0.0, math.inf, 5.0, 0))
    assert found.latency_ms.tolist() == [1000.0, math.inf]
    assert found.lag_ms.tolist() == [0.0, math.inf]
    assert (found.quantile_ms(0.5), found.quantile_ms(0.51)) == (1000.0, math.inf)


def test_refused_requests_flatter_no_quantile() -> None:
    found = measured((0.0, 0.0, 1.0, 200), (0.0, 0.0, 2.0, 200), *[(0.0, 0.0, 0.001, 429)] * 8)
    assert (found.quantile_ms(0.5), found.quantile_ms(1.0)) == (1000.0, 2000.0)
    assert found.statuses == {200: 2, 429: 8}


def test_quantiles_need_a_request_that_was_served() -> None:
    with pytest.raises(ValueError, match="no request was served"):
        measured((0.0, 0.0, 1.0, 429)).quantile_ms(0.5)


def test_only_answers_of_the_window_make_its_rate() -> None:
    ended = [(1.0, 200), (4.0, 200), (4.5, 200), (1.0, 500), (1.0, 0)]
    assert measured(*[(0.0, 0.0, done, status) for done, status in ended], seconds=4.0).rps == 0.5
    assert measured((0.0, 0.0, 1.0, 200), seconds=0.0).rps == 0.0


def test_no_requests_are_no_fault() -> None:
    found = measured()
    assert (found.rps, found.statuses, found.latency_ms.tolist()) == (0.0, {}, [])
