"""Distillation: a small network taught by a model's own answers, right or wrong; never sees a right answer."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.artifact import check
from optimizer.errors import GenerationFailed
from optimizer.generate.classes import class_lists
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.generate.heads import Unteachable, heads
from optimizer.generate.neighbours import munge
from optimizer.generate.running import answers
from optimizer.generate.student import SEED, Student, export
from optimizer.generate.work import multiply_adds
from registry.errors import InvalidValue
from registry.model import Recipe, TensorSpec
from runtime.codecs.binary import DTYPES

Matrix = NDArray[Any]

WIDTHS = (256, 64, 16)
"""Units of the hidden layer, each about a quarter of the work of the one before."""

BETWEEN = (512, 256, 192, 128, 96, 64, 48, 32, 24, 16, 8)
"""What may be made when somebody asks for it."""

LEAST_ROWS = 40
"""Calibration rows below which neighbours of neighbours would be all that a student sees."""

MOST_ROWS = 4000
"""Rows that a student sees, synthetic ones included."""

MOST_COLUMNS = 20_000
"""Numbers in a row; beyond, the first layer alone would be larger than most teachers."""

LABELLING = 50_000_000_000
"""Multiply-adds that the teacher's answers may take: some ten seconds on one core."""

FLOOR = 0.05
"""Whatever the network takes, a run has its overhead."""


def generate(parent: Parent, parameters: Parameters) -> Generated:
    """A network of one hidden layer of `units` that answers like the parent, in the same form.

    It matches the parent's logits (Hinton et al. 2015; Ba and Caruana 2014), or values, on the calibration rows and on
    synthetic neighbours (Bucila et al. 2006). Raises GenerationFailed when a parameter is unknown, an input is BYTES
    or not of fixed shape, an output is neither scores nor one label a row, or there are too few calibration rows.
    """
    units = _units(parameters)
    _refuse(parent)
    model = _checked(parent.model)
    rows, seen = _lesson(parent, multiply_adds(model))
    try:
        scores, labels = heads(parent.task, answers("distill", parent.model, seen), class_lists(model.graph))
    except Unteachable as fault:
        raise GenerationFailed("distill", str(fault)) from fault
    student = Student(rows, np.concatenate([each.targets for each in scores], axis=1), units)
    exported = export(student, model.graph, parent.task.inputs, scores, labels)
    recipe = Recipe("distill", parent.name, (("rows", str(len(rows))), ("units", str(units))))
    return Generated(bytes(exported.SerializeToString(deterministic=True)), recipe)


def propose(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """Three widths, where the student is smaller than its teacher."""
    return _worth(parent, WIDTHS)


def refine(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """Widths between those."""
    return _worth(parent, BETWEEN)


def expect(parent: Parent, parameters: Parameters) -> Expectation:
    """As much less time as there are fewer multiply-adds, at the teacher's accuracy."""
    ratio = _size(parent, _units(parameters)) / max(1, _work(parent.model))
    return Expectation(latency=min(1.0, max(FLOOR, ratio)))


distill = Generator(generate, propose, expect, refine)


def _worth(parent: Parent, widths: tuple[int, ...]) -> tuple[tuple[str, Parameters], ...]:
    _refuse(parent)
    teacher = _work(parent.model)
    worth = tuple((f"distill-{w}", {"units": str(w)}) for w in widths if _size(parent, w) < teacher)
    if not worth:
        raise GenerationFailed("distill", f"the teacher is no larger than a student: {teacher} multiply-adds a row")
    return worth


@lru_cache(maxsize=4)
def _work(model: bytes) -> int:
    return multiply_adds(_checked(model))


def _checked(model: bytes) -> Any:
    try:
        return check(model)
    except InvalidValue as fault:
        raise GenerationFailed("distill", str(fault)) from fault


def _units(parameters: Parameters) -> int:
    text = {"units": str(WIDTHS[1]), **parameters}["units"]
    if set(parameters) - {"units", "rows"} or not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise GenerationFailed("distill", f"parameters {dict(parameters)} are no `units` from 1 to 9999")
    return int(text)


def _refuse(parent: Parent) -> None:
    for spec in parent.task.inputs:
        if spec.datatype == "BYTES":
            raise GenerationFailed("distill", f"input {spec.name} is text, and a student takes numbers")
        if -1 in spec.shape[1:]:
            raise GenerationFailed("distill", f"input {spec.name} has no fixed shape")
    if _columns(parent) > MOST_COLUMNS:
        raise GenerationFailed("distill", f"a row has {_columns(parent)} numbers; at most {MOST_COLUMNS} are taken")
    rows = min((len(array) for array in parent.rows.values()), default=0)
    if rows < LEAST_ROWS:
        raise GenerationFailed("distill", f"there are {rows} calibration rows; give at least {LEAST_ROWS}")


def _columns(parent: Parent) -> int:
    return sum(math.prod(spec.shape[1:]) for spec in parent.task.inputs)


def _size(parent: Parent, units: int) -> int:
    """The multiply-adds of a student, as far as the task tells how many numbers it answers with."""
    scores = sum(abs(math.prod(spec.shape[1:])) for spec in parent.task.outputs if spec.datatype.startswith("FP"))
    return units * (_columns(parent) + (scores or len(parent.task.classes) or 2))


def _lesson(parent: Parent, work: int) -> tuple[Matrix, dict[str, Matrix]]:
    """The rows to learn from, as one matrix, and as the teacher's inputs."""
    total = int(np.clip(LABELLING // max(1, work), LEAST_ROWS, MOST_ROWS))
    rows = parent.some_rows(total)
    columns = [rows[spec.name].reshape(len(rows[spec.name]), -1) for spec in parent.task.inputs]
    flat = np.concatenate(columns, axis=1).astype(np.float64)
    if not np.isfinite(flat).all():
        raise GenerationFailed("distill", "calibration rows are not finite, and a student takes numbers only")
    drawn = munge(flat, total, np.random.default_rng(SEED))
    inputs = _split(drawn, parent.task.inputs)
    # Whole numbers were rounded on the way: the student sees what its teacher saw.
    seen = [inputs[spec.name].reshape(len(drawn), -1).astype(np.float64) for spec in parent.task.inputs]
    return np.concatenate(seen, axis=1), inputs


def _split(rows: Matrix, specs: tuple[TensorSpec, ...]) -> dict[str, Matrix]:
    inputs, start = {}, 0
    for spec in specs:
        end = start + math.prod(spec.shape[1:])
        dtype = DTYPES[spec.datatype]
        values = rows[:, start:end] if dtype.kind == "f" else np.rint(rows[:, start:end])
        inputs[spec.name] = values.astype(dtype).reshape(-1, *spec.shape[1:])
        start = end
    return inputs
