"""What a student must answer with: for each of its teacher's outputs, what to train on and how to give it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.model import Task, TensorSpec

Answers = NDArray[Any]

LEAST_PROBABILITY = 1e-3
"""Forests give exact zeros, whose logarithm no student could match."""

ONE_HOT = 0.99
"""The probability that a teacher's label stands for, where it gives nothing but labels."""

CONSISTENT = 0.98
"""The share of rows on which a label must be that of the largest score, ties left aside, to be derived from it."""

MAX_LABELS = 1000
"""Labels that a head may have without scores of the teacher; beyond, they are numbers rather than classes."""


class Unteachable(ValueError):
    """An output that a student cannot give; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Columns that the student gives as they are, or as probabilities."""

    spec: TensorSpec
    targets: Answers
    """Shape [rows, columns], float64: values, or centred logits."""
    probabilities: bool


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The label of the largest of some columns."""

    spec: TensorSpec
    scores: str
    """The output whose columns these are; its own name where the teacher gives no scores."""
    labels: Answers
    """By column: int64, or object arrays of `bytes`."""


def heads(task: Task, answers: dict[str, Answers], lists: Sequence[Answers] = ()) -> tuple[list[Scores], list[Labels]]:
    """A task's outputs as heads of a student that learns from a teacher's answers; raises Unteachable.

    `lists` are those in the teacher's graph that may be of its labels by class (`class_lists`): where some label is
    never given, they tell it.
    """
    scores = [_scores(spec, answers[spec.name]) for spec in task.outputs if spec.datatype.startswith("FP")]
    labels = []
    for spec in task.outputs:
        if spec.datatype.startswith("FP"):
            continue
        given = _labels_given(spec, answers[spec.name])
        named = _named(spec, task.classes, lists)
        derived = next((d for s in scores if (d := _derived(spec, given, s, answers, named))), None)
        if derived is None:
            own, derived = _own(spec, given)
            scores.append(own)
        labels.append(derived)
    return scores, labels


def _scores(spec: TensorSpec, answers: Answers) -> Scores:
    if -1 in spec.shape[1:]:
        raise Unteachable(f"output {spec.name} has no fixed shape")
    columns = answers.reshape(len(answers), -1).astype(np.float64)
    if not np.isfinite(columns).all():
        raise Unteachable(f"output {spec.name} is not finite on every row")
    sums_to_one = columns.min() >= -1e-6 and np.abs(columns.sum(axis=1) - 1).max() < 1e-3
    if answers.ndim == 2 and columns.shape[1] > 1 and sums_to_one:
        return Scores(spec, _logits(columns), probabilities=True)
    return Scores(spec, columns, probabilities=False)


def _logits(probabilities: Answers) -> Answers:
    """Logarithms of probabilities, centred: logits up to what softmax ignores (Ba and Caruana 2014, section 2)."""
    logs: Answers = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    centred: Answers = logs - logs.mean(axis=1, keepdims=True)
    return centred


def _labels_given(spec: TensorSpec, answers: Answers) -> Answers:
    if spec.datatype not in ("INT64", "INT32", "BYTES", "BOOL") or any(extent != 1 for extent in spec.shape[1:]):
        raise Unteachable(f"output {spec.name} is neither scores nor one label of each row")
    labels: Answers = answers.reshape(len(answers))
    return labels if labels.dtype == object else labels.astype(np.int64)


def _derived(
    spec: TensorSpec, given: Answers, scores: Scores, answers: dict[str, Answers], named: Sequence[Answers]
) -> Labels | None:
    """The label as that of the largest score; None where the teacher's labels are not."""
    columns = answers[scores.spec.name].reshape(len(given), -1)
    if columns.shape[1] < 2:
        return None
    top = columns.argmax(axis=1)
    clear = (columns == columns.max(axis=1, keepdims=True)).sum(axis=1) == 1
    known = {}
    for column in np.unique(top):
        values, counts = np.unique(given[(top == column) & clear], return_counts=True)
        if len(values):
            known[int(column)] = values[counts.argmax()]
    agree = [known.get(int(c)) == label for c, label in zip(top[clear], given[clear], strict=True)]
    if not agree or np.mean(agree) < CONSISTENT or len(set(known.values())) < len(known):
        return None
    return Labels(spec, scores.spec.name, _completed(spec, known, columns.shape[1], named))


def _named(spec: TensorSpec, classes: tuple[str, ...], lists: Sequence[Answers]) -> list[Answers]:
    """The lists of labels of an output's kind: the task's own classes, and those in the graph."""
    named = [each for each in lists if (each.dtype == object) == (spec.datatype == "BYTES")]
    if classes and spec.datatype == "BYTES":
        own = np.empty(len(classes), dtype=object)
        own[:] = [name.encode() for name in classes]
        named.append(own)
    return named


def _completed(spec: TensorSpec, known: dict[int, Any], columns: int, named: Sequence[Answers]) -> Answers:
    """Labels of every column, those never seen too, where a list or those seen tell what they are."""
    labels = np.empty(columns, dtype=object if spec.datatype == "BYTES" else np.int64)
    missing = [column for column in range(columns) if column not in known]
    if not missing:
        labels[:] = [known[column] for column in range(columns)]
        return labels
    fitting = [each for each in named if len(each) == columns and all(each[c] == label for c, label in known.items())]
    if not fitting and spec.datatype != "BYTES" and all(column == label for column, label in known.items()):
        fitting = [np.arange(columns)]  # a position, as an ArgMax gives
    if not fitting or any((each != fitting[0]).any() for each in fitting):
        raise Unteachable(f"column {missing[0]} was never the largest, so its {spec.name} is not known; add rows")
    labels[:] = fitting[0]
    return labels


def _own(spec: TensorSpec, given: Answers) -> tuple[Scores, Labels]:
    """A head of its own for labels without scores: logits of nearly certain one-hot probabilities."""
    labels, index = np.unique(given, return_inverse=True)
    if not 2 <= len(labels) <= MAX_LABELS:
        raise Unteachable(f"output {spec.name} has {len(labels)} different labels")
    one_hot = np.where(index[:, None] == np.arange(len(labels)), ONE_HOT, (1 - ONE_HOT) / (len(labels) - 1))
    return Scores(spec, _logits(one_hot), probabilities=False), Labels(spec, spec.name, labels)
