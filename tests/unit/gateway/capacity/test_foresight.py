"""Whether copies that were warmed ahead were asked for: used once, wasted when they are gone, and never both."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.capacity.carry_out import Outcome, Part, Result
from gateway.capacity.foresight import Foresight
from gateway.capacity.report import Report
from registry.activity import Minute, Usage
from registry.model import Placement, Slo
from scheduler.actions import Provision, Unload, Warm
from scheduler.capacity import Plan

SMALL = Placement("sum/small", "a")


def report(minute: int, *outcomes: Outcome) -> Report:
    return Report(minute * 60.0, Plan((), 0.0, 0.0, {}, {}), 1.0, (), outcomes)


def warmed(copies: int = 1, for_s: float = 0.0, result: Result = Result.DONE) -> Outcome:
    return Outcome(Warm(SMALL, "", copies, for_s), result)


def asked(*minutes: int, task: str = "sum") -> list[Minute]:
    return [Minute(minute, (Usage(task, 1, 1, Slo()),)) for minute in minutes]


def told(measures: Any) -> list[tuple[str, float, str]]:
    return [(measure.metric, measure.value, measure.tier) for measure in measures]


@pytest.fixture
def tiers(make_tier: Any) -> dict[str, Any]:
    return {"a": make_tier("a", idle_timeout_s=300.0)}


def test_what_is_asked_for_while_it_lasts_is_used_once(tiers: Any) -> None:
    foresight = Foresight()
    assert told(foresight.reported(report(10, warmed(2)), tiers)) == [("PrewarmIssued", 2, "a")]
    assert told(foresight.learnt(asked(10), 11)) == []  # in that minute the request may have been there first
    assert told(foresight.learnt(asked(12, task="other"), 13)) == []
    assert told(foresight.learnt(asked(14), 15)) == [("PrewarmUsed", 2, "a")]
    assert told(foresight.learnt(asked(15), 30)) == []


def test_what_nobody_asks_for_before_it_is_gone_is_wasted_once(tiers: Any) -> None:
    foresight = Foresight()
    foresight.reported(report(10, warmed()), tiers)
    assert told(foresight.learnt([], 15)) == []
    assert told(foresight.learnt(asked(16), 17)) == [("PrewarmWasted", 1, "a")]
    assert told(foresight.learnt([], 40)) == []


def test_what_is_warmed_again_unused_was_wasted_the_first_time(tiers: Any) -> None:
    foresight = Foresight()
    foresight.reported(report(10, warmed()), tiers)
    again = told(foresight.reported(report(14, warmed(3)), tiers))
    assert again == [("PrewarmWasted", 1, "a"), ("PrewarmIssued", 3, "a")]
    assert told(foresight.learnt(asked(18), 19)) == [("PrewarmUsed", 3, "a")]


def test_what_did_not_have_to_be_warmed_is_not_counted(tiers: Any) -> None:
    foresight = Foresight()
    assert (
        told(foresight.reported(report(10, warmed(result=Result.ALREADY), warmed(result=Result.FAILED)), tiers)) == []
    )
    assert told(foresight.learnt([], 99)) == []


def test_evictions_and_copies_are_told_by_one_of_two_parts(tiers: Any) -> None:
    outcomes = (Outcome(Unload(SMALL, ""), Result.DONE), Outcome(Provision("gpu", 2, ""), Result.ALREADY))
    assert told(Foresight(Part.SHRINK).reported(report(1, *outcomes), tiers)) == [("ModelEvictions", 1, "a")]
    assert told(Foresight(Part.GROW).reported(report(1, outcomes[1]), tiers)) == [("CopiesWanted", 2, "gpu")]
