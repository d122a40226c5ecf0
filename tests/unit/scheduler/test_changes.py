"""A tier while events change it."""

from __future__ import annotations

from random import Random

import pytest

from scheduler.changes import TierChanges
from scheduler.environments import Environment, State
from scheduler.errors import FleetError
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting
from scheduler.tier_state import TierState, Waiting


def ready(name: str, now: float, *resident: str) -> EnvironmentReady:
    return EnvironmentReady("cpu", name, resident, now)


def test_changes_leave_the_old_state_alone() -> None:
    old = TierState(2, 1, 100.0, {"e0": Environment(State.IDLE)})
    changes = TierChanges(old)
    changes.apply(EnvironmentGone("cpu", "e0", "expired", 1.0))
    changes.wait(("p", "r"), Waiting(1.0, 0.0))
    new = changes.frozen()
    assert (len(old.environments), len(old.outstanding), len(old.tally.free)) == (1, 0, 1)
    assert (len(new.environments), len(new.outstanding), len(new.tally.free)) == (0, 1, 0)
    assert TierChanges(new).leave(("p", "r"))
    assert not TierChanges(old).leave(("p", "r"))


def test_what_cannot_happen_changes_nothing() -> None:
    changes = TierChanges(TierState(2, 1, 100.0))
    with pytest.raises(FleetError, match="EnvironmentBusy"):
        changes.apply(EnvironmentBusy("cpu", "e", 1.0))
    changes.wait(("p", "r"), Waiting(1.0, 0.0))
    with pytest.raises(FleetError, match="queued for 'p' already"):
        changes.wait(("p", "r"), Waiting(2.0, 0.0))
    assert changes.frozen() == TierState(2, 1, 100.0, {}, {("p", "r"): Waiting(1.0, 0.0)})


def test_it_tells_whose_holders_changed_and_what_was_touched() -> None:
    changes = TierChanges(TierState(2, 1, 100.0))
    changes.apply(ready("e", 1.0, "a", "b", "b"))
    changes.apply(ready("f", 1.0, "b"))
    changes.apply(ready("e", 2.0, "c", "b"))
    assert {variant: more for variant, more in changes.held.items() if more} == {"b": 2, "c": 1}
    assert changes.touched == {"a", "b", "c"}


@pytest.mark.parametrize("slots", [1, 3])
def test_counts_and_the_order_of_expiry_are_those_of_the_environments(slots: int) -> None:
    random, changes = Random(slots), TierChanges(TierState(9, slots, 100.0))
    for step in range(400):
        name, now = f"e{random.randrange(6)}", step + random.uniform(-3.0, 3.0)  # reports may overtake one another
        event = random.choice(
            (
                EnvironmentStarting("cpu", name, now),
                ready(name, now, *random.sample("abc", 2)),
                EnvironmentBusy("cpu", name, now),
                EnvironmentGone("cpu", name, "expired", now),
            )
        )
        try:
            changes.apply(event)
        except FleetError:
            continue
        kept = changes.frozen()
        counted = TierState(9, slots, 100.0, kept.environments).tally
        assert (kept.starting, kept.live, kept.running) == (counted.starting, counted.live, counted.running)
        assert kept.tally.free == counted.free
        assert [kept.expiry(e) for e in kept.tally.free.values()] == [kept.expiry(e) for e in counted.free.values()]
        changes = TierChanges(kept)
