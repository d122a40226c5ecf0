"""Scikit-learn's handwritten digits as arrays, split once for all; the held-out rows are never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT = 540
"""Three rows of ten, so that the 95 % interval of an accuracy near 0.98 is about ±0.012."""

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Digits:
    """8×8 images with pixels from 0 to 16, flattened to 64 columns, and the digit that each shows."""

    train: Rows
    train_labels: Labels
    held_out: Rows
    held_out_labels: Labels


def load() -> Digits:
    """The 1,797 digits, 540 of them held out, the classes in equal shares on both sides."""
    bundle: Any = load_digits()
    train, held_out, train_labels, held_out_labels = train_test_split(
        bundle.data.astype(np.float32),
        bundle.target.astype(np.int64),
        test_size=HELD_OUT,
        random_state=0,
        stratify=bundle.target,
    )
    return Digits(train, train_labels, held_out, held_out_labels)


def sample(n: int) -> tuple[Rows, Labels]:
    """The first `n` held-out rows, shape [n, 64], and their labels, shape [n]; raises ValueError beyond 540."""
    if not 1 <= n <= HELD_OUT:
        raise ValueError(f"n: {n} is out of range; use 1 to {HELD_OUT}")
    digits = load()
    return digits.held_out[:n], digits.held_out_labels[:n]


def shifted(rows: Rows, labels: Labels) -> tuple[Rows, Labels]:
    """`rows` and the same moved by one pixel in each of four directions, in a fixed random order.

    Moved copies are new examples of the same digit; the order matters because cross-validation takes folds as they lie.
    """
    images = rows.reshape(-1, 8, 8)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moves = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    moved = np.concatenate([padded[:, y : y + 8, x : x + 8] for y, x in moves]).reshape(-1, 64)
    order = np.random.default_rng(0).permutation(len(moved))
    return moved[order], np.tile(labels, len(moves))[order]
