"""What every generator takes, gives and foretells; never a generator itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.model import Recipe, Task, TierKind

Parameters = Mapping[str, str]
"""By name; a recipe records them all, defaults included."""


@dataclass(frozen=True, slots=True, eq=False)
class Parent:
    """A variant to start from."""

    name: str
    model: bytes
    """ONNX, as it was registered or generated: nothing in it was optimised for one machine."""
    task: Task
    rows: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Calibration rows: inputs by name, of equal length, on which nothing is ever judged; empty when there are none."""

    def some_rows(self, most: int) -> dict[str, NDArray[Any]]:
        """At most so many of the calibration rows, from first to last: data often comes sorted by its classes."""
        have = len(next(iter(self.rows.values()), ()))
        index = np.linspace(0, have - 1, most).astype(np.intp) if have > most else np.arange(have)
        return {name: array[index] for name, array in self.rows.items()}


@dataclass(frozen=True, slots=True)
class Generated:
    """A variant made from another: its ONNX bytes, how it was made, and what its placements must keep to."""

    model: bytes
    recipe: Recipe
    max_batch: int | None = None
    """Most rows that it takes; None: as many as its parent."""
    optimised: bool = False
    """Whether the bytes are to be loaded as they are; otherwise making the artifact optimises them for any CPU."""
    kinds: frozenset[TierKind] | None = None
    """Kinds of tier that it is for; None: all."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a generator foretells of a variant before it is made, relative to its parent; meant to be hopeful.

    It only decides what is worth a try: whatever is tried is measured.
    """

    latency: float
    """Service time as a multiple of the parent's."""
    accuracy: float = 0.0
    """What is added to the parent's accuracy, at best."""
    kinds: frozenset[TierKind] | None = None
    """Kinds of tier where it may be so; None: all."""


@dataclass(frozen=True, slots=True)
class Generator:
    """One way to make variants: pure functions."""

    generate: Callable[[Parent, Parameters], Generated]
    """A variant of the parent; parameters left out have their defaults. Raises GenerationFailed."""
    propose: Callable[[Parent], Sequence[tuple[str, Parameters]]]
    """What is worth a try in a family: for each a suffix of its name (`int8-static`, `trees-50`) and parameters that
    differ from the defaults. Raises GenerationFailed with the reason where the generator does not apply."""
    expect: Callable[[Parent, Parameters], Expectation]
    """What to expect of such a variant; looks at the graph, and runs nothing. Raises GenerationFailed."""
    refine: Callable[[Parent], Sequence[tuple[str, Parameters]]] | None = None
    """What else may be made when somebody asks for what no proposal gives: a finer grid. None: nothing."""
