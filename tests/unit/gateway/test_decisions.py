"""The log keeps so many, and what it keeps can be decided again."""

from __future__ import annotations

from gateway.decisions import DecisionLog, Record
from registry.model import Slo
from scheduler.choose import choose
from scheduler.fleet import Fleet
from scheduler.requests import Request


def record(catalogue, name):
    return Record(name, "acme", Request("sum", Slo()), catalogue, Fleet.empty(catalogue), 1.0, 0.0)


def test_the_oldest_goes_when_it_is_full(make_catalogue):
    catalogue, log = make_catalogue({("small", "a"): 1.0}), DecisionLog(capacity=3)
    for i in range(5):
        log.append(record(catalogue, str(i)))
    assert [log.get(str(i)) is not None for i in range(5)] == [False, False, True, True, True]
    assert len(log) == 3


def test_a_decision_can_be_made_again(make_catalogue):
    catalogue = make_catalogue({("small", "a"): 1.0, ("large", "b"): 9.0})
    kept = record(catalogue, "d")
    again, first = kept.decision(), choose(kept.request, catalogue, kept.fleet, 1.0)
    assert list(again.ranked) == list(first.ranked)
    assert again.why_not() == first.why_not()
