"""The fleet in arrays: several events at once are as one after the other, and as from nothing."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from benchmarks import synthetic
from scheduler.columns import Columns, columns_of
from scheduler.errors import FleetError
from scheduler.events import Event, Finished
from scheduler.fleet import Fleet

NAMES = ("resident_until", "holders", "restored", "refused_until", "free_until", "full", "wait")


def assert_same(found: Columns, expected: Columns) -> None:
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.any_full, found.any_restored) == (expected.any_full, expected.any_restored)


@pytest.mark.parametrize("seed", range(6))
def test_a_run_of_events_is_as_each_after_the_other(seed: int) -> None:
    random, catalogue = Random(seed), synthetic.catalogue(30, seed)
    alone = together = Fleet.empty(catalogue)
    now, serial = 0.0, 0
    for _ in range(40):
        before, run = together, []
        for _ in range(random.randint(1, 9)):
            now, serial = now + random.expovariate(10.0), serial + 1
            event = synthetic.event(alone, random, now, serial)
            run.append(event)
            alone = alone.apply(event)
        kept = [getattr(before.columns, name).copy() for name in NAMES]
        together = before.apply_all(run)
        for name, value in zip(NAMES, kept, strict=True):
            np.testing.assert_array_equal(getattr(before.columns, name), value)  # who holds it sees nothing
        assert_same(together.columns, alone.columns)
        assert together.tiers == alone.tiers
        assert_same(alone.columns, columns_of(alone.layout, alone.tiers, alone.failing, alone.quarantined))


def test_an_impossible_event_is_told_and_passed_over_or_raises() -> None:
    random, fleet = Random(1), Fleet.empty(synthetic.catalogue(30, 1))
    first = synthetic.event(fleet, random, 1.0, 1)
    impossible = Finished(fleet.layout.placements[0].id, "never queued", 1.0, True, 2.0)
    second = synthetic.event(fleet.apply(first), random, 3.0, 3)
    told: list[Event] = []
    found = fleet.apply_all([first, impossible, second], lambda event, error: told.append(event))
    assert told == [impossible]
    assert_same(found.columns, fleet.apply(first).apply(second).columns)
    with pytest.raises(FleetError, match="is not queued"):
        fleet.apply_all([first, impossible, second])
