"""The named rules do what their papers and releases say."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random

import pytest

from scheduler.batching import Service
from scheduler.rules import RULES, SPLIT_FROM_S, Adaptive, Aimd, Fixed, Regression, Room, Throughput, rule_named

ROOM = Room(left_s=20e-3, patience_s=20e-3, lanes=1, free=1, waiting=1000, limit=64)
PROFILE = tuple((rows, 1e-3 * (1 + rows), 1e-3 * (1 + rows)) for rows in (1, 2, 4, 8, 16, 32))


@pytest.mark.parametrize("name", [*RULES, "static:1", "static:500"])
@pytest.mark.parametrize("left_s", [-1.0, 0.0, 1e-9, 20e-3, inf])
def test_every_rule_stays_between_one_row_and_the_limit(name: str, left_s: float) -> None:
    random = Random(1)
    rule = rule_named(name)(Service(PROFILE), lambda: random.gauss(0, 1))
    for _ in range(300):
        most = rule.most(replace(ROOM, left_s=left_s))
        assert 1 <= most <= ROOM.limit
        rule.observe(most, random.choice((0.0, 1e-3 * (1 + most), 1.0)), left_s)


@pytest.mark.parametrize("name", ["", "static", "static:", "static:0", "static:-3", "static:x", "Modelless", "clipper"])
def test_an_unknown_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"aimd.*static:ROWS"):
        rule_named(name)


def test_no_batching_and_static_sizes_never_change() -> None:
    assert rule_named("none")(Service(), lambda: 0.0).most(ROOM) == 1
    assert rule_named("static:24")(Service(), lambda: 0.0).most(ROOM) == 24
    assert Fixed(24).most(replace(ROOM, limit=8)) == 8


@pytest.mark.parametrize(
    ("left_ms", "patience_ms", "lanes", "most"),
    [
        (20, inf, 1, 19),  # 1 + 19 ms
        (20, 20, 1, 9),  # half of the patience: who comes waits for this run, and for its own
        (20, 20, 3, 14),  # three quarters of it
        (6, 20, 1, 5),
        (1, 20, 1, 1),
        (inf, inf, 1, 64),
    ],
)
def test_ours_leaves_time_for_who_comes_next(left_ms: float, patience_ms: float, lanes: int, most: int) -> None:
    room = replace(ROOM, left_s=left_ms * 1e-3 + 1e-9, patience_s=patience_ms * 1e-3 + 1e-9, lanes=lanes)
    assert Adaptive(Service(PROFILE)).most(room) == most


def test_ours_shares_what_waits_between_free_cores_where_runs_are_long() -> None:
    rule = Adaptive(Service(PROFILE))
    unhurried = replace(ROOM, left_s=inf, patience_s=inf, waiting=9)
    assert rule.most(replace(unhurried, free=2)) == 5
    assert rule.most(replace(unhurried, free=4)) == 3
    assert rule.most(replace(unhurried, free=1)) >= 9
    short = Adaptive(Service(tuple((rows, SPLIT_FROM_S / 100, SPLIT_FROM_S / 100) for rows in (1, 32))))
    assert short.most(replace(unhurried, free=4)) >= 9


def test_aimd_adds_a_row_after_a_full_run_and_takes_a_tenth_after_a_late_one() -> None:
    rule, sizes = Aimd(), []
    for _ in range(20):
        sizes.append(rule.most(ROOM))
        rule.observe(sizes[-1], 1e-3, 20e-3)
    assert sizes == list(range(1, 21))
    rule.observe(20, 30e-3, 20e-3)
    assert rule.most(ROOM) == 18  # 0.9 × 21
    rule.observe(3, 1e-3, 20e-3)  # not full: it says nothing of larger ones
    assert rule.most(ROOM) == 18
    for _ in range(100):
        rule.observe(1, 30e-3, 20e-3)
    assert rule.most(ROOM) == 1


def test_the_first_releases_multiply_mean_throughput_by_the_time_left() -> None:
    rule = Throughput()
    assert rule.most(ROOM) == 1
    rule.observe(1, 1e-3, 20e-3)
    rule.observe(3, 1e-3, 20e-3)
    assert rule.most(ROOM) == 40  # 2,000 rows a second for 20 ms
    assert rule.most(replace(ROOM, left_s=1e-3)) == 2
    for _ in range(Throughput.NEWEST):
        rule.observe(1, 1e-3, 20e-3)
    assert rule.most(ROOM) == 20


def explored(deviation: float = 0.0) -> Regression:
    """Until the largest batch has 9 rows, at a millisecond a row."""
    rule = Regression(lambda: deviation)
    while (rows := rule.most(ROOM)) < 10:
        rule.observe(rows, rows * 1e-3, 20e-3)
    return rule


def test_the_last_releases_explore_row_by_row_and_then_by_a_tenth() -> None:
    rule, sizes = Regression(lambda: 0.0), []
    wide = replace(ROOM, left_s=1.0, limit=1000)
    for _ in range(100):
        sizes.append(rule.most(wide))
        rule.observe(sizes[-1], sizes[-1] * 1e-3, 1.0)
    assert sizes[:45] == [rows for rows in range(1, 10) for _ in range(Regression.ENOUGH)]
    assert sizes[45:65] == [10] * 5 + [11] * 5 + [12] * 5 + [13] * 5
    quick = Regression(lambda: 2.0)
    for _ in range(50):
        quick.observe(10, 1e-3, 1.0)
    assert quick.most(wide) == 12  # 10 × (1 + 0.1 + 2 × 0.05)


def test_the_last_releases_estimate_once_the_budget_is_below_the_worst() -> None:
    rule = explored()
    # 0.92 × 10 ms is no more than the 9 ms that were seen: 9.2 is; 0.92 × 9 = 8.28 is not.
    assert rule.most(replace(ROOM, left_s=10e-3)) == 10
    assert rule.most(replace(ROOM, left_s=9e-3)) == 8
    assert rule.most(replace(ROOM, left_s=5e-3)) == 4


def test_the_last_releases_never_forget_their_worst_latency() -> None:
    rule = explored()
    rule.observe(9, 50e-3, 20e-3)
    for _ in range(500):
        rule.observe(9, 9e-3, 20e-3)
    assert rule.most(ROOM) <= 20  # a budget of 18 ms does not explore any more
    assert rule.most(replace(ROOM, left_s=1.0, limit=1000)) == 9 + 1


def test_ours_forgets_it() -> None:
    service = Service(PROFILE)
    rule = Adaptive(service)
    usual = rule.most(ROOM)
    service.observe(9, 50e-3)
    for _ in range(10):
        service.observe(9, 10e-3)
    assert rule.most(ROOM) >= 0.9 * usual
