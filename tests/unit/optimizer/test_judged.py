"""What judgements make of an accuracy: pooled while they agree, overruled when they do not, and back again."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from optimizer.accuracy import METRICS, share
from optimizer.judged import ENOUGH, ENOUGH_PAIRS, KINDS, LEVEL, WINDOW, Hits, Pairs, ranks_differ, shares_differ

GENERATOR = np.random.default_rng(0)


def hits(right: int, wrong: int, start: Hits | None = None) -> Hits:
    given = np.array([1] * right + [0] * wrong)
    return (start or Hits()).after(given, np.ones(right + wrong, np.int64))


def pairs(rows: int, error: float, seed: int, start: Pairs | None = None) -> Pairs:
    generator = np.random.default_rng(seed)
    right = generator.normal(size=(rows, 1))
    return (start or Pairs("rmse_skill")).after(right + error * generator.normal(size=(rows, 1)), right)


def test_every_metric_can_be_judged() -> None:
    assert set(KINDS) == set(METRICS)
    assert all(kind().rows == 0 for kind in KINDS.values())


def test_nothing_judged_is_the_evaluation() -> None:
    evaluation = share(97, 100)
    for kind in KINDS.values():
        assert kind().reestimate(evaluation, GENERATOR).accuracy == evaluation


def test_rows_that_agree_are_pooled() -> None:
    found = hits(48, 2).reestimate(share(97, 100), GENERATOR)
    assert (found.accuracy, found.drifted) == (share(145, 150), False)


def test_rows_that_contradict_count_alone() -> None:
    found = hits(5, 25).reestimate(share(440, 450), GENERATOR)
    assert (found.accuracy, found.drifted) == (share(5, 30), True)


def test_a_few_wrong_rows_do_not_overrule_an_evaluation() -> None:
    found = hits(0, ENOUGH - 1).reestimate(share(450, 450), GENERATOR)
    assert (found.accuracy, found.drifted) == (share(450, 450 + ENOUGH - 1), False)
    assert hits(0, ENOUGH).reestimate(share(450, 450), GENERATOR).drifted


def test_what_is_older_than_a_change_is_forgotten_and_the_evaluation_comes_back() -> None:
    evaluation = share(440, 450)
    bad = hits(0, 40, start=hits(98, 2))
    assert bad.rows < 80
    assert bad.reestimate(evaluation, GENERATOR).accuracy.value < 0.3
    good = bad
    for _ in range(60):
        good = hits(1, 0, start=good)
    found = good.reestimate(evaluation, GENERATOR)
    assert not found.drifted
    assert found.accuracy.value > 0.97


def test_the_window_is_bounded() -> None:
    assert hits(3 * WINDOW, 0).rows == WINDOW
    assert pairs(3 * WINDOW, 0.1, 1).rows == WINDOW


def test_a_row_of_several_elements_is_right_when_all_are() -> None:
    found = Hits().after(np.array([["a", "b"], ["a", "c"]], object), np.array([["a", "b"], ["a", "b"]], object))
    assert found.hits.tolist() == [True, False]


def test_few_pairs_leave_the_evaluation_and_many_are_weighed_with_it() -> None:
    generator = np.random.default_rng(3)
    right = generator.normal(size=(300, 1))
    evaluation = METRICS["rmse_skill"](right + 0.5 * generator.normal(size=(300, 1)), right, generator)
    assert pairs(ENOUGH_PAIRS - 1, 0.5, 4).reestimate(evaluation, generator).accuracy == evaluation
    many = pairs(100, 0.5, 5)
    found = many.reestimate(evaluation, generator)
    assert many.given is not None
    assert many.right is not None
    alone = METRICS["rmse_skill"](many.given, many.right, generator)
    assert found.accuracy.value == pytest.approx((300 * evaluation.value + 100 * alone.value) / 400)
    assert found.accuracy.rows == 400
    assert not found.drifted
    assert found.accuracy.high - found.accuracy.low < evaluation.high - evaluation.low


def test_pairs_overrule_an_evaluation_and_give_way_to_it_again() -> None:
    generator = np.random.default_rng(6)
    evaluation = METRICS["rmse_skill"](*(2 * [generator.normal(size=(300, 1))]), generator)
    assert evaluation.value == 1.0
    bad = pairs(60, 1.5, 7, start=pairs(60, 1e-6, 8))
    found = bad.reestimate(evaluation, generator)
    assert (found.drifted, found.accuracy.value) == (True, 0.0)
    good = pairs(60, 1e-6, 9, start=bad)
    again = good.reestimate(evaluation, generator)
    assert again.accuracy.value > 0.9


def test_pairs_of_one_right_answer_say_nothing() -> None:
    evaluation = share(90, 100)
    same = Pairs("rmse_skill").after(np.arange(50.0), np.ones(50))
    assert same.reestimate(evaluation, GENERATOR).accuracy == evaluation


@pytest.mark.parametrize(("right", "rows", "other", "of"), [(3, 16, 40, 50), (16, 16, 10, 30), (9, 20, 45, 100)])
def test_shares_are_compared_as_fisher_did(right: int, rows: int, other: int, of: int) -> None:
    total = right + other
    weights = {k: comb(rows, k) * comb(of, total - k) for k in range(max(0, total - of), min(rows, total) + 1)}
    below = sum(w for k, w in weights.items() if k <= right) / sum(weights.values())
    above = sum(w for k, w in weights.items() if k >= right) / sum(weights.values())
    assert shares_differ(right, rows, other, of) == (2 * min(below, above) < LEVEL)
    assert shares_differ(other, of, right, rows) == shares_differ(right, rows, other, of)


def test_ranks_see_a_shift_and_no_ties() -> None:
    values = np.arange(40.0)
    assert ranks_differ(values, values + 30)
    assert ranks_differ(values + 30, values)
    assert not ranks_differ(values, values)
    assert not ranks_differ(np.zeros(40), np.zeros(40))
