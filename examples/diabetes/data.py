"""Scikit-learn's diabetes study as arrays, split once for all; the held-out rows are never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

HELD_OUT = 142
"""About a third, which leaves 300 rows to train on."""

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Diabetes:
    """Ten baseline measures of a patient, standardised, and the progression of the disease a year later."""

    train: Rows
    train_values: Rows
    held_out: Rows
    held_out_values: Rows
    """Shape [rows, 1], from 25 to 346."""


def load() -> Diabetes:
    """The 442 patients, 142 of them held out."""
    bundle: Any = load_diabetes()
    train, held_out, train_values, held_out_values = train_test_split(
        bundle.data.astype(np.float32), bundle.target.astype(np.float32), test_size=HELD_OUT, random_state=0
    )
    return Diabetes(train, train_values, held_out, held_out_values.reshape(-1, 1))


def sample(n: int) -> tuple[Rows, Rows]:
    """The first `n` held-out rows, shape [n, 10], and their values, shape [n, 1]; raises ValueError beyond 142."""
    if not 1 <= n <= HELD_OUT:
        raise ValueError(f"n: {n} is out of range; use 1 to {HELD_OUT}")
    diabetes = load()
    return diabetes.held_out[:n], diabetes.held_out_values[:n]
