from __future__ import annotations

import numpy as np
import pytest

from simulator.keepalive.replay import replay
from simulator.keepalive.residency import PlannedResidency
from simulator.keepalive.trace import one_a_minute
from simulator.traces import PerMinute

MINUTES = 90


def counted(**every: int) -> PerMinute:
    """Applications that are asked for once in so many minutes."""
    minutes = np.arange(MINUTES)
    return PerMinute(tuple(every), np.array([minutes % period == 0 for period in every.values()], dtype=np.int64))


def test_applications_share_one_environment_and_only_their_first_requests_are_cold() -> None:
    policy = PlannedResidency({"busy": 300.0, "often": 300.0, "third": 300.0}, ratio=0.01, start_s=1.0)
    found = replay(one_a_minute(counted(busy=1, often=2, third=3), "minute"), policy)
    assert [len(each.colds) for each in found.played] == [1, 1, 1]
    assert policy.environment_minutes == MINUTES - 1
    assert policy.starts == 1
    assert policy.loads >= 3


def test_what_does_not_fit_into_one_environment_has_two() -> None:
    policy = PlannedResidency({"one": 1000.0, "two": 1000.0}, ratio=0.01, start_s=1.0)
    replay(one_a_minute(counted(one=1, two=1), "minute"), policy)
    assert policy.environment_minutes == pytest.approx(2 * (MINUTES - 1), abs=2)


def test_a_dear_minute_is_not_paid_for_a_rare_request() -> None:
    policy = PlannedResidency({"rare": 100.0}, ratio=0.9, start_s=1.0)
    found = replay(one_a_minute(counted(rare=30), "minute"), policy)
    assert policy.environment_minutes < 10
    assert len(found.played[0].colds) >= 2


def test_an_application_that_no_environment_has_room_for_is_refused() -> None:
    with pytest.raises(ValueError, match="application large takes 1500 MB, of 1415 MB"):
        PlannedResidency({"large": 1500.0}, ratio=0.1, start_s=1.0)
