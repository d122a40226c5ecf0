"""Tables are concave, runs are chosen by what they bring at a price of core time, and floors are held."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf

import pytest

from scheduler.batching import Service
from scheduler.switching import FILLED, Choice, Option, Price, Table, choose, first, tightest, train
from scheduler.work import Rung, Work

SIZES = (1, 2, 4, 8, 16, 32, 64)
FREE = Price(0.0, 0.0)


def option(
    name: str,
    accuracy: float,
    a: float,
    b: float,
    *,
    threads: int = 1,
    max_batch: int = 64,
    tail: float = 1.1,
    known: bool = True,
) -> Option:
    """A variant whose runs take a + b × rows seconds."""
    measured = tuple((rows, a + b * rows, tail * (a + b * rows)) for rows in SIZES) if known else ()
    return Option(Rung(name, accuracy, max_batch, {threads: measured}), threads, Service(measured))


LADDER = [
    option("v0", 0.99, 9e-3, 11e-3),
    option("v1", 0.975, 4e-3, 5e-3),
    option("v2", 0.96, 1.8e-3, 2.2e-3),
    option("v3", 0.935, 0.7e-3, 0.9e-3),
    option("v4", 0.90, 0.35e-3, 0.45e-3),
    option("v5", 0.86, 0.2e-3, 0.2e-3),
]
LOADS = [1e-3, 1, 10, 30, 60, 100, 200, 400, 800, 1600, 3200, 1e4, 1e9]


def works(*deadlines: float, rows: int = 1, floor: float = 0.0) -> list[Work]:
    return [Work("t", rows, 0.0, deadline, floor) for deadline in deadlines]


def chosen(
    waiting: Sequence[Work],
    options: Sequence[Option],
    price: Price = FREE,
    *,
    free: int = 1,
    cores: float = 1,
    usual_s: float = inf,
) -> Choice:
    choice = choose(waiting, options, price, now=0.0, free=free, cores=cores, usual_s=usual_s)
    assert choice is not None
    return choice


# The table


@pytest.mark.parametrize("patience_s", [5e-3, 25e-3, 0.1, inf])
@pytest.mark.parametrize("cores", [0.25, 1, 2, 7])
def test_the_settings_are_a_concave_rising_hull(patience_s: float, cores: float) -> None:
    settings = train(LADDER, patience_s=patience_s, cores=cores).settings
    corners = [(0.0, 0.0), *((s.row_s, s.effective_accuracy) for s in settings)]
    slopes = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in pairwise(corners)]
    assert all(x1 > x0 and y1 > y0 for (x0, y0), (x1, y1) in pairwise(corners))
    assert all(later < earlier for earlier, later in pairwise(slopes))


def test_a_rising_load_is_served_by_ever_cheaper_settings_and_all_of_them() -> None:
    table = train(LADDER, patience_s=0.1, cores=2)
    served = [table.at(load) for load in LOADS]
    assert all(after.row_s <= before.row_s for before, after in pairwise(served))
    assert (served[0].option.rung.variant, served[-1].option.rung.variant) == ("v0", "v5")
    assert len({setting.option.rung.variant for setting in served}) >= 5
    for load, setting in zip(LOADS, served, strict=True):
        assert load <= setting.most_load * (1 + 1e-9) or setting is table.settings[0]


def test_what_a_deadline_rules_out_is_no_setting() -> None:
    table = train(LADDER, patience_s=11e-3, cores=1)
    assert {s.option.rung.variant for s in table.settings} == {"v1", "v2", "v3", "v4", "v5"}
    assert table.at(1e-3).option.rung.variant == "v1"  # 9 ms alone; the next one needs 20


def test_batches_leave_time_for_who_comes_meanwhile() -> None:
    for setting in train(LADDER, patience_s=30e-3, cores=2).settings:
        if setting.batch > 1:
            assert setting.option.service.tail(setting.batch) <= 20e-3


def test_replicas_and_threads_change_with_the_load() -> None:
    # Two threads do a row sooner and cost more for each: only they are in time alone, and only one thread lasts.
    wide = option("m", 0.9, 1e-3, 5e-3, threads=2)
    narrow = option("m", 0.9, 1e-3, 9e-3, threads=1)
    cheap = option("small", 0.8, 1e-3, 1e-3, threads=1)
    table = train([wide, narrow, cheap], patience_s=8e-3, cores=2)
    assert (table.at(10).threads, table.at(10).replicas, table.at(10).option.rung.variant) == (2, 1, "m")
    assert (table.at(1000).threads, table.at(1000).replicas, table.at(1000).option.rung.variant) == (1, 2, "small")


def test_a_table_needs_a_way_to_run() -> None:
    with pytest.raises(ValueError, match="a way to run"):
        train([], patience_s=1.0, cores=1)


def test_what_never_ran_sets_no_price_unless_nothing_ever_did() -> None:
    unknown = option("new", 0.999, 0, 0, known=False)
    table = train([unknown, *LADDER], patience_s=0.1, cores=1)
    assert "new" not in {s.option.rung.variant for s in table.settings}
    assert [s.row_s for s in train([unknown], patience_s=0.1, cores=1).settings] == [0.0]


def test_the_price_is_the_slope_of_the_hull_where_the_budget_is() -> None:
    table = train(LADDER, patience_s=inf, cores=1)
    for cheaper, dearer in pairwise(table.settings):
        price = table.price((cheaper.row_s + dearer.row_s) / 2)
        for each in (cheaper, dearer):  # at this price both are worth the same
            assert each.effective_accuracy - price.per_core_s * each.row_s == pytest.approx(price.per_row)
    assert table.price(inf) == Price(0.0, table.settings[-1].effective_accuracy)
    assert table.price(0.0).per_row == 0.0


@pytest.mark.parametrize("row_s", [0.0, 1e-9, 1e-3, 5e-3, 1.0, inf])
def test_prices_are_never_negative_and_neighbours_hold_the_cheapest(row_s: float) -> None:
    table = train(LADDER, patience_s=0.1, cores=1)
    assert table.price(row_s).per_core_s >= 0.0 <= table.price(row_s).per_row
    assert table.settings[0].option.rung.variant in table.near(row_s)


def test_a_budget_is_what_is_given_away_for_each_row() -> None:
    table = Table(inf, 2.0, train(LADDER, patience_s=inf, cores=2).settings)
    assert (table.budget(0.0), table.budget(100.0)) == (inf, FILLED * 2 / 100)


# How tight it is


def test_without_deadlines_there_is_time() -> None:
    assert tightest(works(inf, inf), now=1.0, free_at=[1.0]) == inf


def test_each_work_has_its_share_of_the_time_up_to_its_deadline() -> None:
    assert tightest(works(2.0, 4.0), now=0.0, free_at=[0.0]) == pytest.approx(2.0)
    assert tightest(works(2.0, 3.0), now=0.0, free_at=[0.0]) == pytest.approx(1.5)
    assert tightest(works(2.0, 3.0), now=0.0, free_at=[0.0], share=0.5) == pytest.approx(0.75)
    assert tightest(works(2.0, 3.0), now=0.0, free_at=[0.0, 1.0]) == pytest.approx(2.5)
    assert tightest(works(4.0, rows=4), now=1.0, free_at=[0.0]) == pytest.approx(0.75)
    assert tightest(works(0.5, 2.0), now=0.0, free_at=[0.0, 1.0]) == pytest.approx(0.5)
    assert tightest(works(0.5), now=1.0, free_at=[3.0]) == 0.0


# The choice


def test_the_most_accurate_runs_where_core_time_is_free() -> None:
    choice = chosen(works(1.0, 1.0), LADDER)
    assert (choice.option.rung.variant, choice.rows) == ("v0", 2)


def test_a_dear_core_second_is_spent_on_cheaper_variants() -> None:
    table = train(LADDER, patience_s=inf, cores=1)
    taken = [chosen(works(*[inf] * 64), LADDER, table.price(1 / load)).option.rung.variant for load in LOADS]
    assert taken == sorted(taken)
    assert (taken[0], taken[-1]) == ("v0", "v5")


def test_a_deadline_is_met_by_what_can() -> None:
    assert chosen(works(5e-3), LADDER).option.rung.variant == "v2"
    assert chosen(works(0.5e-3), LADDER).option.rung.variant == "v5"


def test_a_run_has_no_more_rows_than_are_in_time_for_the_first() -> None:
    service = LADDER[5].service
    choice = chosen(works(5e-3, *[1.0] * 100), LADDER[5:], Price(0.0, 0.86))
    assert choice.works[0].deadline == 5e-3
    assert service.tail(choice.rows) <= 5e-3 < service.tail(choice.rows + 1)


def test_a_run_leaves_time_for_who_comes_meanwhile() -> None:
    service = LADDER[5].service
    choice = chosen(works(*[1.0] * 100), LADDER[5:], usual_s=12e-3)
    assert service.tail(choice.rows) <= 6e-3 < service.tail(choice.rows + 1)


@pytest.mark.parametrize("max_batch", [1, 3, 16])
def test_the_largest_batch_is_kept_to(max_batch: int) -> None:
    small = [option("m", 0.9, 1e-3, 1e-4, max_batch=max_batch)]
    assert chosen(works(*[inf] * 40), small).rows == max_batch
    assert chosen(works(inf, inf, rows=7), small).rows == max(7, max_batch // 7 * 7)


def test_a_floor_is_held_by_whatever_answers() -> None:
    dear = Price(1e9, 0.0)
    assert chosen(works(*[inf] * 3), [o for o in LADDER if o.rung.accuracy >= 0.96], dear).option.rung.variant == "v2"
    mixed = [*works(inf, inf), *works(inf, floor=0.97), *works(inf)]
    assert first(mixed, LADDER[5].rung, 64) == mixed[:2]
    assert first(mixed, LADDER[1].rung, 64) == mixed
    assert first(mixed[2:], LADDER[5].rung, 64) == []


def test_a_pinned_variant_runs_whatever_it_costs() -> None:
    pinned = Work("t", 1, 0.0, variant="v0")
    assert first([pinned], LADDER[5].rung, 64) == []
    assert first([pinned], LADDER[0].rung, 64) == [pinned]


def test_nothing_runs_on_more_cores_than_are_free() -> None:
    wide = option("m", 0.9, 1e-3, 1e-3, threads=2)
    assert choose(works(inf), [wide], FREE, now=0.0, free=1, cores=2, usual_s=inf) is None
    assert chosen(works(inf), [wide], free=2, cores=2).option is wide


def test_what_nobody_can_save_gives_way_to_a_run_of_those_that_can_be() -> None:
    # The first would be late even alone.
    choice = chosen(works(0.1e-3, *[20e-3] * 30), LADDER[5:], Price(2000.0, 0.0), usual_s=20e-3)
    assert choice.works[0].deadline == 20e-3
    assert choice.rows == 30


def test_what_a_smaller_run_saves_is_not_given_up_for_a_larger_one() -> None:
    strict, patient = works(*[4e-3] * 10), works(*[1.0] * 100)
    for each in (LADDER[5], option("unmeasured", 0.0, 0.2e-3, 0.2e-3)):
        choice = chosen([*strict, *patient], [each], train([each], patience_s=20e-3, cores=1).price(1e-5))
        assert choice.works[:10] == tuple(strict)


def test_of_runs_that_are_priced_too_high_the_one_that_brings_most_for_its_time_is_best() -> None:
    choice = chosen(works(*[1.0] * 64), LADDER[5:], Price(1e6, 0.0))
    assert choice.worth < 0.0
    assert choice.rows == 64


def test_an_unmeasured_accuracy_is_worth_a_right_answer() -> None:
    assert Rung("m").right == 1.0
    assert Rung("m", 0.4).right == 0.4
    settings = train([option("m", 0.0, 1e-3, 1e-3)], patience_s=inf, cores=1).settings
    assert settings[-1].effective_accuracy == 1.0


def test_what_was_never_run_is_tried() -> None:
    unknown = option("new", 0.999, 0, 0, known=False)
    choice = chosen(works(*[1.0] * 5), [*LADDER, unknown], train(LADDER, patience_s=1.0, cores=1).price(inf))
    assert (choice.option.rung.variant, choice.rows) == ("new", 1)


@pytest.mark.parametrize("deadline", [-inf, -1.0, 0.0, 1e-12])
def test_works_that_are_late_already_choose_something_all_the_same(deadline: float) -> None:
    for price in (FREE, Price(1e6, 0.0), Price(0.0, 0.99)):
        assert chosen(works(deadline, deadline), LADDER, price, usual_s=20e-3).works


# Without deadlines


def unhurried(*options: Option, load: float, waiting: int = 1, free: int = 2, cores: float = 2) -> Choice:
    """What is chosen for works without deadlines at a load (rows per second)."""
    table = train(options, patience_s=inf, cores=cores)
    price = table.price(table.budget(load))
    return chosen(works(*[inf] * waiting), options, price, free=free, cores=cores)


def test_the_quicker_of_two_ways_to_the_same_answer_is_run_while_there_are_cores_for_it() -> None:
    one, two = option("m", 0.9, 1e-3, 1e-3), option("m", 0.9, 0.8e-3, 0.6e-3, threads=2)
    assert unhurried(one, two, load=10).option is two
    assert unhurried(one, two, load=10, free=1).option is one
    # A row costs 1.2 core-milliseconds on two threads, in a large batch, and 1.0 on one.
    assert unhurried(one, two, load=1900, waiting=64).option is one


def test_accuracy_is_given_up_for_capacity_and_not_for_haste() -> None:
    slow, quick = option("slow", 0.9, 0.2, 0.1), option("quick", 0.899, 1e-3, 1e-4)
    assert unhurried(slow, quick, load=0.1).option is slow
    assert unhurried(slow, quick, load=15_000, waiting=64).option is quick


def test_more_threads_with_room_for_few_rows_are_not_quicker_where_many_wait() -> None:
    one = option("m", 0.9, 4e-3, 0.5e-3)
    wide = Option(Rung("m", 0.9, 64), 2, Service([(1, 3e-3, 3.3e-3)]))
    assert unhurried(one, wide, load=10).option is wide
    choice = unhurried(one, wide, load=10, waiting=16)
    assert (choice.option, choice.rows) == (one, 16)


def test_works_with_deadlines_share_a_run_whoever_has_none() -> None:
    ways = option("m", 0.9, 1e-3, 1e-4), option("m", 0.9, 0.8e-3, 0.8e-4, threads=2)
    price = train(ways, patience_s=0.1, cores=2).price(inf)
    mixed = works(*[0.1] * 20, inf)
    assert chosen(mixed, ways, price, free=2, cores=2, usual_s=0.1).rows == 21


def test_one_without_a_deadline_ahead_of_others_does_not_make_them_late() -> None:
    urgent = Work("t", 1, 0.0, priority=1)
    ways = [option("m", 0.9, 1e-3, 0.5e-3)]
    price = train(ways, patience_s=20e-3, cores=1).price(inf)
    assert chosen([urgent, *works(*[4e-3] * 15)], ways, price, usual_s=20e-3).rows <= 5


def test_a_long_queue_is_worked_off_in_the_runs_that_take_least_for_a_row() -> None:
    assert unhurried(option("m", 0.9, 1e-3, 1e-4), load=0.1, waiting=250, free=1, cores=1).rows == 64
