from __future__ import annotations

from random import Random

import pytest

from benchmarks import decision, synthetic
from scheduler.fleet import Fleet


def test_rankings_are_compared_with_the_reference() -> None:
    assert decision.check(3) == 9


def test_a_wrong_expectation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    rank = decision.reference.rank
    monkeypatch.setattr(decision.reference, "rank", lambda *world: rank(*world)[::-1])
    with pytest.raises(AssertionError):
        decision.check(3)


def test_a_trial_times_decisions_on_a_changing_fleet() -> None:
    trial = decision.Trial(20, 50)
    before = trial.fleet
    p99 = trial.repeat()
    assert p99 >= trial.median_us[0] > 0
    assert trial.apply_us[0] > 0
    assert trial.fleet is not before


def test_the_same_seed_makes_the_same_world() -> None:
    assert synthetic.catalogue(30, 3) == synthetic.catalogue(30, 3)
    assert synthetic.catalogue(30, 3) != synthetic.catalogue(30, 4)
    one, two = (synthetic.after(Fleet.empty(synthetic.catalogue(30)), 100, Random(5)) for _ in range(2))
    assert (one[0].tiers, one[1]) == (two[0].tiers, two[1])
    assert synthetic.request(Random(1)) == synthetic.request(Random(1))
