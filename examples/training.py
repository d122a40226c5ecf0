"""From untrained estimators to named ONNX variants, one after another; never reads or writes files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from optimizer.generate.generated import Parent
from optimizer.generate.table import GENERATORS
from registry.model import Recipe, Task

Rows = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An estimator to train under a name."""

    name: str
    family: str
    """What kind of model it is, in a word or two."""
    estimator: Any
    augmented: bool = False
    """Whether it learns from the augmented rows."""


@dataclass(frozen=True, slots=True)
class Made:
    """A variant as it goes into a folder."""

    name: str
    model: bytes
    """ONNX."""
    recipe: Recipe


def train(
    candidates: Sequence[Candidate],
    plain: tuple[Rows, Rows],
    augmented: tuple[Rows, Rows],
    export: Callable[[Any], bytes],
) -> Iterator[Made]:
    """Each candidate, fitted on its rows and targets and exported; the same bytes every time."""
    for candidate in candidates:
        rows, targets = augmented if candidate.augmented else plain
        # On one thread: the sums, and so the models, are those of any machine, and no thread spins while it waits.
        with threadpool_limits(1), warnings.catch_warnings():
            # The number of epochs is a choice here, not a failure to converge.
            warnings.simplefilter("ignore", ConvergenceWarning)
            candidate.estimator.fit(rows, targets)
        yield Made(candidate.name, export(candidate.estimator), _recipe(candidate))


def derive(task: Task, parent: Made, generator: str, name: str) -> Made:
    """A variant that a named generator makes of another."""
    generated = GENERATORS[generator].generate(Parent(parent.name, parent.model, task), {})
    return Made(name, generated.model, generated.recipe)


def _recipe(candidate: Candidate) -> Recipe:
    return Recipe("train", parameters=(("augmented", str(candidate.augmented).lower()), ("family", candidate.family)))
