"""Quality is a bounded number with an interval that means what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from optimizer.accuracy import BATCH, METRICS, accuracy, measure, rmse_skill
from optimizer.errors import InvalidEvaluation
from optimizer.evaluation import Evaluation


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def labels(right: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    expected = np.zeros(rows, np.int64)
    given = np.where(np.arange(rows) < right, 0, 1)
    return given, expected


def test_wilson_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263.
    measured = accuracy(*labels(81, 263), rng())
    assert measured.value == pytest.approx(81 / 263)
    assert (measured.low, measured.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (measured.rows, measured.method) == (263, "wilson")


@pytest.mark.parametrize(("right", "low", "high"), [(10, 0.7225, 1.0), (0, 0.0, 0.2775)])
def test_the_extremes_have_a_width_too(right: int, low: float, high: float) -> None:
    measured = accuracy(*labels(right, 10), rng())
    assert (measured.low, measured.high) == pytest.approx((low, high), abs=5e-5)


def test_a_row_is_right_when_all_of_it_is() -> None:
    expected = np.array([[1, 2], [3, 4]])
    assert accuracy(np.array([[1, 2], [3, 0]]), expected, rng()).value == 0.5


def test_strings_are_compared_as_they_are() -> None:
    expected = np.array([b"cat", b"dog"], dtype=object)
    assert accuracy(np.array([b"cat", b"cow"], dtype=object), expected, rng()).value == 0.5


def test_skill_counts_from_the_mean_to_the_truth() -> None:
    right = np.arange(100.0).reshape(-1, 1)
    assert rmse_skill(right, right, rng()).value == 1.0
    assert rmse_skill(np.full_like(right, right.mean()), right, rng()).value == 0.0
    assert rmse_skill(-right, right, rng()).value == 0.0
    halfway = (right + right.mean()) / 2
    assert rmse_skill(halfway, right, rng()).value == pytest.approx(0.5)


def test_skill_is_one_minus_the_root_of_what_r_squared_leaves() -> None:
    right = rng().normal(size=(200, 1))
    given = right + 0.3 * np.random.default_rng(1).normal(size=right.shape)
    r_squared = 1 - np.square(given - right).sum() / np.square(right - right.mean()).sum()
    measured = rmse_skill(given, right, rng())
    assert measured.value == pytest.approx(1 - np.sqrt(1 - r_squared))
    assert measured.low < measured.value < measured.high
    assert measured == rmse_skill(given, right, rng())


def test_more_rows_narrow_the_bootstrap() -> None:
    def width(rows: int) -> float:
        right = rng().normal(size=rows)
        measured = rmse_skill(right + rng().normal(size=rows) * 0.5 + 0.1 * right, right, rng())
        return measured.high - measured.low

    assert width(1000) < width(50)


def test_nothing_can_be_foreseen_of_a_constant() -> None:
    with pytest.raises(InvalidEvaluation, match="one right answer"):
        rmse_skill(np.zeros(5), np.ones(5), rng())


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_answers_of_another_shape_are_refused(metric: str) -> None:
    with pytest.raises(InvalidEvaluation, match="shape"):
        METRICS[metric](np.zeros((3, 1)), np.arange(3), rng())


def test_every_row_is_run_once_in_small_batches() -> None:
    rows = 2 * BATCH + 7
    seen: list[int] = []

    def run(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        seen.append(len(inputs["x"]))
        return {"y": inputs["x"] % 2}

    x = np.arange(rows)
    measured = measure(run, Evaluation({"x": x}, "y", np.where(x < rows - 1, x % 2, 5)), "accuracy", rng())
    assert seen == [BATCH, BATCH, 7]
    assert measured.value == pytest.approx((rows - 1) / rows)


def test_unknown_metrics_and_missing_outputs_are_named() -> None:
    evaluation = Evaluation({"x": np.arange(3)}, "y", np.arange(3))
    with pytest.raises(InvalidEvaluation, match=r"'f1' is unknown; use one of \['accuracy', 'rmse_skill'\]"):
        measure(lambda inputs: {}, evaluation, "f1", rng())
    with pytest.raises(InvalidEvaluation, match=r"y: is no output of the variant, which gives \['z'\]"):
        measure(lambda inputs: {"z": inputs["x"]}, evaluation, "accuracy", rng())


def test_strings_have_no_error_to_square() -> None:
    words = np.array([b"a", b"b"], dtype=object)
    with pytest.raises(InvalidEvaluation, match="use accuracy"):
        rmse_skill(words, words, np.random.default_rng(0))
