"""Which requests find a substitute in a shared environment."""

from __future__ import annotations

import numpy as np

from simulator.keepalive.substitutes import substituted
from simulator.keepalive.trace import Trace

TRACE = Trace(("a", "b", "c"), np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0, 1, 0, 2, 1]), 6.0)


def test_with_room_for_all_every_request_finds_one() -> None:
    assert substituted(TRACE, 3) == {("a", 1.0), ("b", 2.0), ("a", 3.0), ("c", 4.0), ("b", 5.0)}


def test_what_is_not_known_before_is_found_from_its_second_request_on() -> None:
    assert substituted(TRACE, 3, registered=False) == {("a", 3.0), ("b", 5.0)}


def test_with_less_room_those_that_were_asked_for_last_stay() -> None:
    assert substituted(TRACE, 2) == {("a", 1.0), ("b", 2.0), ("a", 3.0)}
    assert substituted(TRACE, 1, registered=False) == set()


def test_without_room_nobody_finds_one() -> None:
    assert substituted(TRACE, 0) == set()
