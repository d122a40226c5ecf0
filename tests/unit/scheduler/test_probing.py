"""What is tried again, when, and when not."""

from __future__ import annotations

import pytest

from registry.model import Slo
from scheduler.choose import choose
from scheduler.events import EnvironmentBusy, EnvironmentReady, Measured
from scheduler.fleet import Fleet
from scheduler.probing import EVERY, FOLLOW_UP, PATIENCE, Probing
from scheduler.requests import Request

GOOD, FAST = "t/good@cpu:1", "t/fast@cpu:1"


def outcomes(fleet, placement, service_ms):
    for _ in range(40):
        fleet = fleet.apply(Measured(placement, 1, service_ms, (), service_ms, 0.0))
    return fleet


@pytest.fixture
def fleet(build, spec, flat):
    """The accurate one holds the SLO by its profile, and is believed to take three times as long."""
    catalogue = build(
        spec("good", accuracy=0.9, service={1: flat(10.0)}), spec("fast", accuracy=0.6, service={1: flat(2.0)})
    )
    fleet = Fleet.empty(catalogue)
    for name in ("e", "f"):
        fleet = fleet.apply(EnvironmentReady("cpu", name, ("t/good", "t/fast"), 0.0))
    return outcomes(outcomes(fleet, FAST, 2.0), GOOD, 30.0)


def decide(fleet):
    return choose(Request("t", Slo(latency_ms=20.0)), fleet.layout.catalogue, fleet, 0.0)


def after(state, fleet, requests):
    """The state and the probes after as many answered requests."""
    probes, decision = [], decide(fleet)
    for _ in range(requests):
        state, probe = state.after(decision, fleet, 0.0)
        probes.append(probe)
    return state, probes


def test_what_is_believed_slow_is_tried_again(fleet) -> None:
    assert decide(fleet).ranked[0].placement.id == FAST
    state, probes = after(Probing(), fleet, EVERY)
    assert probes[:-1] == [None] * (EVERY - 1)
    assert probes[-1].estimate.placement.id == GOOD
    assert probes[-1].estimate.latency_ms > 20.0
    assert GOOD in probes[-1].reason
    assert state.under_way == {"cpu"}


def test_one_at_a_time_on_a_tier(fleet) -> None:
    state, _ = after(Probing(), fleet, EVERY)
    assert set(after(state, fleet, 10 * EVERY)[1]) == {None}


def test_ever_less_often_while_it_stays_slow(fleet) -> None:
    state, pauses, since = Probing(), [], 0
    while len(pauses) < 5:
        state, (probe,) = after(state, fleet, 1)
        since += 1
        if probe is not None:
            pauses.append(since)
            state, since = state.ended(probe, 30.0), 0
    assert pauses == [EVERY, 2 * EVERY, *[(1 + PATIENCE) * EVERY] * 3]


def test_soon_again_after_a_sign_of_recovery(fleet) -> None:
    state, probes = after(Probing(), fleet, EVERY)
    state, probes = after(state.ended(probes[-1], 10.0), fleet, FOLLOW_UP)
    assert [probe is not None for probe in probes] == [False] * (FOLLOW_UP - 1) + [True]


def test_a_probe_without_an_answer_is_no_sign_of_recovery(fleet) -> None:
    state, probes = after(Probing(), fleet, EVERY)
    assert state.ended(probes[-1], None).slow == {GOOD: 1}
    assert state.ended(probes[-1], None).under_way == frozenset()


def test_nothing_is_tried_on_a_tier_without_a_free_warm_slot(fleet) -> None:
    for name in ("e", "f"):
        fleet = fleet.apply(EnvironmentBusy("cpu", name, 0.0))
    assert set(after(Probing(), fleet, 3 * EVERY)[1]) == {None}


def test_nothing_is_tried_on_the_last_slot_of_a_tier(fleet) -> None:
    one_busy = fleet.apply(EnvironmentBusy("cpu", "e", 0.0))
    assert one_busy.columns.free_until.tolist() == [100.0]
    assert set(after(Probing(), one_busy, 3 * EVERY)[1]) == {None}


def test_nothing_is_tried_that_its_profile_keeps_away(build, spec, flat) -> None:
    catalogue = build(
        spec("good", accuracy=0.9, service={1: flat(50.0)}), spec("fast", accuracy=0.6, service={1: flat(2.0)})
    )
    fleet = Fleet.empty(catalogue).apply(EnvironmentReady("cpu", "e", ("t/good", "t/fast"), 0.0))
    assert set(after(Probing(), fleet, 3 * EVERY)[1]) == {None}
    slow = outcomes(outcomes(fleet, FAST, 2.0), GOOD, 80.0)
    assert set(after(Probing(), slow, 3 * EVERY)[1]) == {None}


def test_nothing_is_tried_while_the_best_by_profile_is_chosen(fleet) -> None:
    recovered = outcomes(fleet, GOOD, 10.0)
    assert decide(recovered).ranked[0].placement.id == GOOD
    assert set(after(Probing(), recovered, 3 * EVERY)[1]) == {None}
