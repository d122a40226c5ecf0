"""Unlabelled rows that resemble given ones, for a teacher to label; never invents a column's range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[Any]

SWAP = 0.5
"""How likely a column is replaced: MUNGE's p, in the middle of its useful range (Bucila et al. 2006, section 4.3)."""

LOCALITY = 1.0
"""MUNGE's s: a replaced value spreads as wide as two neighbours differ, divided by this."""


def munge(rows: Matrix, total: int, source: np.random.Generator) -> Matrix:
    """`total` rows, shape [total, columns]: the given ones, then as many around them as it takes.

    MUNGE (Bucila, Caruana and Niculescu-Mizil 2006, algorithm 1): with its nearest neighbour, a row exchanges some
    columns, and continuous ones are drawn around the neighbour's value. Columns of two values at most are exchanged
    as they are. Every value stays between the least and the most that its column was seen to have.
    """
    copies = max(0, total - len(rows))
    if copies == 0 or len(rows) < 2:
        return rows[:total]
    origin = np.arange(copies) % len(rows)
    here, there = rows[origin], rows[_nearest(rows)[origin]]
    drawn = source.normal(there, np.abs(here - there) / LOCALITY)
    low, high = rows.min(axis=0), rows.max(axis=0)
    two_valued = ((rows == low) | (rows == high)).all(axis=0)
    replaced = np.where(two_valued, there, np.clip(drawn, low, high))
    made = np.where(source.random(here.shape) < SWAP, replaced, here)
    return np.concatenate([rows, made.astype(rows.dtype)])


def _nearest(rows: Matrix) -> NDArray[np.intp]:
    """The index of each row's nearest other row, every column counted in its own spread."""
    # Imported here: it takes half a second, and only training needs it.
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    spread = rows.std(axis=0)
    scaled = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    found: NDArray[np.intp] = NearestNeighbors(n_neighbors=2, n_jobs=1).fit(scaled).kneighbors(return_distance=False)
    return found[:, 0]
