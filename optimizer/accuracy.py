"""How good a variant's answers are, in [0, 1] with a 95 % interval; measured on held-out rows, never assumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidEvaluation
from optimizer.evaluation import Evaluation
from registry.model import Accuracy

Answers = NDArray[Any]
Metric = Callable[[Answers, Answers, np.random.Generator], Accuracy]
"""From given answers, right answers and a source of randomness; axis 0 is the row."""

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Outputs by name for inputs by name: `runtime.session.Session.run`."""

BATCH = 64
"""Rows per run while measuring, so that memory stays small whatever the evaluation's size."""

Z95 = 1.959963984540054
"""The standard normal's 97.5 % quantile."""

RESAMPLES = 1000
"""Enough for the 2.5 % and 97.5 % points of a bootstrap (Efron and Tibshirani 1993, chapter 13)."""


def measure(run: Run, evaluation: Evaluation, metric: str, generator: np.random.Generator) -> Accuracy:
    """What METRICS[metric] says of a variant that answers through `run`, over every row of the evaluation.

    Raises InvalidEvaluation for an unknown metric, a missing output or answers of another shape, and what `run` raises.
    """
    if metric not in METRICS:
        raise InvalidEvaluation("task.metric", f"{metric!r} is unknown", f"use one of {sorted(METRICS)}")
    parts = [
        _answers(run(evaluation.batch(min(BATCH, evaluation.rows - start), start)), evaluation.output)
        for start in range(0, evaluation.rows, BATCH)
    ]
    return METRICS[metric](np.concatenate(parts), evaluation.expected, generator)


def accuracy(given: Answers, right: Answers, _generator: np.random.Generator) -> Accuracy:
    """The share of rows whose answer is right in every element, with Wilson's score interval."""
    _check_shapes(given, right)
    hits = right_rows(given, right)
    return share(int(hits.sum()), len(hits))


def right_rows(given: Answers, right: Answers) -> NDArray[np.bool_]:
    """Whether each row's answer is right in every element."""
    hits: NDArray[np.bool_] = (given == right).reshape(len(right), -1).all(axis=1)
    return hits


def share(right: int, n: int) -> Accuracy:
    """`right` of `n` rows, with Wilson's score interval.

    It is centred at (p + z²/2n) / (1 + z²/n), with half-width z √(p(1−p)/n + z²/4n²) / (1 + z²/n) (Wilson 1927;
    Brown, Cai and DasGupta 2001, equation 4). Unlike the normal one it stays in [0, 1] and has a width at p = 1.
    """
    p = right / n
    shrink = 1 + Z95**2 / n
    centre = (p + Z95**2 / (2 * n)) / shrink
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)) / shrink
    return Accuracy(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)), n, "wilson")


def rmse_skill(given: Answers, right: Answers, generator: np.random.Generator) -> Accuracy:
    """How much of the error of always answering the mean is gone: max(0, 1 − RMSE / RMSE of the mean).

    The mean is that of the evaluation's right answers, so 1 is perfect, 0 is no better than knowing nothing but the
    mean, and anything worse counts as 0. It is Murphy's (1988) skill score on root mean squares, 1 − √(1 − R²),
    which is lower than R² and reads in the answer's own unit: 0.25 means errors smaller by a quarter. The interval
    is the bootstrap's percentile interval over rows (Efron and Tibshirani 1993, chapter 13), the mean drawn anew
    with them. Raises InvalidEvaluation when every right answer is the same, for then there is nothing to foresee, or
    when answers are no numbers.
    """
    _check_shapes(given, right)
    if "O" in (given.dtype.kind, right.dtype.kind):
        raise InvalidEvaluation(
            "task.metric", "rmse_skill compares numbers, and the answers are strings", "use accuracy"
        )
    n = len(right)
    answers = right.reshape(n, -1).astype(np.float64)
    errors = np.square(given.reshape(n, -1).astype(np.float64) - answers)
    if not np.ptp(answers, axis=0).any():
        raise InvalidEvaluation("evaluation", "has one right answer only", "give rows that differ")
    value = _skill(errors, answers)
    draws = [_skill(errors[rows], answers[rows]) for rows in (generator.integers(0, n, n) for _ in range(RESAMPLES))]
    low, high = (float(v) for v in np.quantile(draws, (0.025, 0.975)))
    return Accuracy(value, min(low, value), max(high, value), n, "bootstrap")


METRICS: Mapping[str, Metric] = MappingProxyType({"accuracy": accuracy, "rmse_skill": rmse_skill})
"""Every metric that a task may name."""


def _skill(errors: Answers, answers: Answers) -> float:
    spread = float(np.mean(np.square(answers - answers.mean(axis=0))))
    if spread == 0.0:  # a resample of one row over and over
        return 0.0
    return max(0.0, 1 - math.sqrt(float(np.mean(errors)) / spread))


def _answers(outputs: Mapping[str, NDArray[Any]], name: str) -> Answers:
    if name not in outputs:
        raise InvalidEvaluation(name, f"is no output of the variant, which gives {sorted(outputs)}", "rename it")
    return outputs[name]


def _check_shapes(given: Answers, right: Answers) -> None:
    if given.shape != right.shape:
        raise InvalidEvaluation(
            "evaluation", f"right answers have shape {right.shape}, given ones {given.shape}", "make them alike"
        )
