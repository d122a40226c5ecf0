"""Schedulers that know the same do not herd: the benchmark's simulation, for one seed and a second."""

from __future__ import annotations

from benchmarks.herding import BUSY_S, SCHEDULERS, SLOTS, TIERS, catalogue, refusals


def test_the_load_is_two_thirds_of_what_the_tiers_run_at_once() -> None:
    assert SCHEDULERS / (SLOTS * TIERS) == 2 / 3
    assert BUSY_S < 1.0


def test_schedulers_that_know_the_same_do_not_herd() -> None:
    """Figures are in benchmarks/results/herding.json."""
    facts = catalogue()
    herding, spread = (refusals(facts, spreading, seed=7, seconds=2.0) for spreading in (False, True))

    assert herding > 0.06
    assert spread < herding / 2
