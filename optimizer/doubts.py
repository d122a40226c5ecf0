"""What looks wrong about an evaluation once variants were judged on it; warns, and refuses nothing.

A file of the wrong answers is registered as readily as one of the right ones, and every number then means nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from optimizer.evaluation import Evaluation
from registry.model import Accuracy

FEW_ROWS = 30
"""With fewer, Wilson's interval of an accuracy of 0.9 is wider than 0.2."""

NAMED = 3
"""Labels that a warning names."""


def doubts(
    evaluation: Evaluation, accuracies: Sequence[Accuracy], metric: str, given: Collection[Any] = ()
) -> tuple[str, ...]:
    """A sentence for everything suspicious; `accuracies` are the variants', one at least, on these rows.

    `given` are the labels that some variant gave for some row, where the metric counts labels.
    """
    best = max(accuracies, key=lambda accuracy: accuracy.value)
    found = [*_few(best), *_foreign(evaluation, metric, given), *_useless(evaluation, best, metric)]
    return (*found, *_not_finite(evaluation))


def _few(best: Accuracy) -> Iterator[str]:
    if best.rows < FEW_ROWS:
        yield (
            f"only {best.rows} rows were judged: an accuracy of {best.value:.3f} may be anything from {best.low:.3f} to"
            f" {best.high:.3f}; give {FEW_ROWS} rows or more"
        )


def _foreign(evaluation: Evaluation, metric: str, given: Collection[Any]) -> Iterator[str]:
    """Right answers that nobody gives: labels by another name, or counted from another number."""
    if metric != "accuracy" or not given:
        return
    rows = evaluation.expected.reshape(evaluation.rows, -1).tolist()
    foreign = {label for row in rows for label in row} - set(given)
    if foreign:
        share = sum(not foreign.isdisjoint(row) for row in rows) / len(rows)
        yield (
            f"no variant ever gives {_named(foreign)}, the right answer of {share:.1%} of the rows; variants give"
            f" {_named(given)}: check that labels are those that the model was trained on"
        )


def _useless(evaluation: Evaluation, best: Accuracy, metric: str) -> Iterator[str]:
    if metric != "accuracy":
        if best.value <= 0:
            yield "no variant is better than always answering the mean: check that rows and answers belong together"
        return
    answers = Counter(map(tuple, evaluation.expected.reshape(evaluation.rows, -1).tolist()))
    (commonest, count), *_ = answers.most_common(1)
    if best.value <= count / evaluation.rows:
        yield (
            f"the best accuracy, {best.value:.3f}, is no better than that of always answering {_named(commonest)},"
            f" {count / evaluation.rows:.3f}: check that rows and answers belong together"
        )


def _not_finite(evaluation: Evaluation) -> Iterator[str]:
    for name, array in evaluation.inputs.items():
        if array.dtype.kind != "f":
            continue
        share = float(np.mean(~np.isfinite(array).reshape(len(array), -1).all(axis=1)))
        if share:
            yield (
                f"{share:.1%} of the rows have NaN or infinities in {name}: accuracies count what the model makes of"
                " them; leave them out unless callers will send such rows"
            )


def _named(labels: Collection[Any]) -> str:
    """A few of them, in order; strings are quoted."""
    told = [label.decode("utf-8", "replace") if isinstance(label, bytes) else label for label in sorted(labels)]
    more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return ", ".join(f"{label!r:.40}" for label in told[:NAMED]) + more
