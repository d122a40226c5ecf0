"""What looks wrong about an evaluation is said, and nothing is said of a sound one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optimizer.accuracy import share
from optimizer.doubts import doubts
from optimizer.evaluation import Evaluation
from registry.model import Accuracy


def labelled(*labels: Any, x: Any = None) -> Evaluation:
    """Rows with these right answers."""
    rows = np.zeros((len(labels), 2), np.float32) if x is None else x
    strings = isinstance(labels[0], bytes)
    return Evaluation({"x": rows}, "y", np.array(labels, dtype=object if strings else None))


HALVES = (0, 1) * 50


def test_a_sound_evaluation_raises_no_doubt() -> None:
    assert doubts(labelled(*HALVES), [share(95, 100), share(10, 100)], "accuracy", {0, 1, 2}) == ()
    numbers = Evaluation({"x": np.zeros((50, 2), np.int64)}, "y", np.arange(50.0))
    assert doubts(numbers, [Accuracy(0.4, 0.3, 0.5, 50, "bootstrap")], "rmse_skill") == ()


def test_few_rows_leave_a_wide_interval() -> None:
    best = share(18, 20)
    (told,) = doubts(labelled(*HALVES[:20]), [share(1, 20), best], "accuracy", {0, 1})
    assert told.startswith(f"only 20 rows were judged: an accuracy of 0.900 may be anything from {best.low:.3f} to")
    assert doubts(labelled(*HALVES[:30]), [share(27, 30)], "accuracy", {0, 1}) == ()


@pytest.mark.parametrize(
    ("labels", "given", "told"),
    [
        ((1, 2) * 50, {0, 1}, "no variant ever gives 2, the right answer of 50.0% of the rows; variants give 0, 1:"),
        ((b"Cat", b"dog") * 50, {b"cat", b"dog"}, "no variant ever gives 'Cat', the right answer of 50.0%"),
        (tuple(range(100)), {0}, "no variant ever gives 1, 2, 3 and 96 more, the right answer of 99.0%"),
    ],
)
def test_right_answers_that_nobody_gives_are_named(labels: tuple[Any, ...], given: set[Any], told: str) -> None:
    (doubt,) = doubts(labelled(*labels), [share(51, 100)], "accuracy", given)
    assert doubt.startswith(told)


def test_no_better_than_the_commonest_answer() -> None:
    (told,) = doubts(labelled(*(7,) * 60, *(8,) * 40), [share(60, 100), share(2, 100)], "accuracy", {7, 8})
    assert told.startswith("the best accuracy, 0.600, is no better than that of always answering 7, 0.600:")
    assert doubts(labelled(*(7,) * 60, *(8,) * 40), [share(61, 100)], "accuracy", {7, 8}) == ()


def test_no_better_than_the_mean() -> None:
    numbers = Evaluation({"x": np.zeros((50, 2), np.float32)}, "y", np.arange(50.0))
    (told,) = doubts(numbers, [Accuracy(0.0, 0.0, 0.1, 50, "bootstrap")], "rmse_skill")
    assert told.startswith("no variant is better than always answering the mean")


def test_rows_that_are_not_finite_are_counted() -> None:
    x = np.zeros((100, 2), np.float32)
    x[:3, 0], x[2:4, 1] = np.nan, np.inf
    (told,) = doubts(labelled(*HALVES, x=x), [share(95, 100)], "accuracy", {0, 1})
    assert told.startswith("4.0% of the rows have NaN or infinities in x:")


def test_a_row_of_several_labels_is_one_answer() -> None:
    grid = Evaluation({"x": np.zeros((60, 2), np.int64)}, "y", np.array([[0, 1]] * 40 + [[1, 5]] * 20))
    first, second = doubts(grid, [share(40, 60)], "accuracy", {0, 1})
    assert "gives 5, the right answer of 33.3%" in first
    assert "always answering 0, 1, 0.667" in second
