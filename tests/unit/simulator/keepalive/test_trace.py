"""Where requests are placed in their minutes."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.keepalive.trace import one_a_minute
from simulator.traces import PerMinute

COUNTED = PerMinute(("b", "silent", "a"), np.array([[3, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]]))


def test_an_active_minute_is_one_request_at_its_end() -> None:
    trace = one_a_minute(COUNTED, "minute")
    assert trace.applications == ("b", "a")
    assert list(trace) == [(1.0, "b"), (1.0, "a"), (2.0, "a"), (3.0, "b")]
    assert trace.end == 4.0


@pytest.mark.parametrize("seed", range(3))
def test_anywhere_in_the_minute_keeps_the_minute(seed: int) -> None:
    trace = one_a_minute(COUNTED, "uniform", seed=seed)
    assert (np.diff(trace.times) >= 0).all()
    assert sorted((int(np.ceil(time)), name) for time, name in trace) == [(1, "a"), (1, "b"), (2, "a"), (3, "b")]
    assert list(trace) == list(one_a_minute(COUNTED, "uniform", seed=seed))


def test_another_seed_places_others() -> None:
    first, second = (one_a_minute(COUNTED, "uniform", seed=seed).times.tolist() for seed in (1, 2))
    assert first != second
