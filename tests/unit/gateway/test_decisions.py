"""The log keeps so many, and what it keeps can be decided again."""

from __future__ import annotations

import numpy as np

from gateway.decisions import ANSWER_SHARE, DecisionLog, Record
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


def test_answers_are_kept_within_so_many_bytes_the_latest_ones(make_catalogue):
    catalogue, log = make_catalogue({("small", "a"): 1.0}), DecisionLog(answers_bytes=1600)
    for i in range(20):
        log.append(record(catalogue, str(i)), np.full(12, i))  # 96 bytes each
    assert [i for i in range(20) if log.answer(str(i)) is not None] == list(range(4, 20))
    answer = log.answer("4")
    assert answer is not None
    assert answer.tolist() == [4] * 12


def test_an_answer_that_is_too_large_is_not_kept_and_leaves_the_others(make_catalogue):
    catalogue, log = make_catalogue({("small", "a"): 1.0}), DecisionLog(answers_bytes=160 * ANSWER_SHARE)
    log.append(record(catalogue, "a"), np.zeros(3))
    log.append(record(catalogue, "b"), np.zeros(21))
    log.append(record(catalogue, "c"), np.array([b"x" * 200], object))
    log.append(record(catalogue, "d"), np.array([b"x" * 100], object))
    assert [log.answer(name) is not None for name in "abcd"] == [True, False, False, True]


def test_a_kept_answer_is_a_copy(make_catalogue):
    log, reply = DecisionLog(), np.zeros(1000)
    log.append(record(make_catalogue({("small", "a"): 1.0}), "a"), reply[:2])
    answer = log.answer("a")
    assert answer is not None
    assert answer.base is None


def test_an_answer_is_judged_once_and_forgotten_with_its_decision(make_catalogue):
    catalogue, log = make_catalogue({("small", "a"): 1.0}), DecisionLog(capacity=2)
    log.append(record(catalogue, "a"), np.zeros(3))
    log.append(record(catalogue, "b"), np.zeros(3))
    log.mark_judged("a")
    assert (log.judged("a"), log.answer("a"), log.judged("b")) == (True, None, False)
    log.append(record(catalogue, "c"), np.zeros(3))
    log.append(record(catalogue, "d"), np.zeros(3))
    assert (log.judged("a"), log.answer("b"), log.answer("c") is not None) == (False, None, True)
