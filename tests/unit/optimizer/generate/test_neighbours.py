"""Synthetic rows lie around the given ones, within each column's range."""

from __future__ import annotations

import numpy as np

from optimizer.generate.neighbours import munge


def rows(n: int = 60) -> np.ndarray:
    source = np.random.default_rng(0)
    return np.column_stack([source.normal(size=n), source.normal(5, 10, n), source.integers(0, 2, n)])


def test_the_given_rows_come_first_then_as_many_as_asked() -> None:
    given = rows()
    made = munge(given, 200, np.random.default_rng(1))
    assert made.shape == (200, 3)
    np.testing.assert_array_equal(made[:60], given)
    assert len(np.unique(made[60:], axis=0)) > 100


def test_no_value_leaves_its_column() -> None:
    given = rows()
    made = munge(given, 1000, np.random.default_rng(1))
    assert (made >= given.min(axis=0)).all()
    assert (made <= given.max(axis=0)).all()
    assert set(made[:, 2]) == {0.0, 1.0}


def test_columns_keep_about_their_spread() -> None:
    given = rows(500)
    made = munge(given, 3000, np.random.default_rng(1))
    np.testing.assert_allclose(made.std(axis=0), given.std(axis=0), rtol=0.2)


def test_too_many_rows_are_cut() -> None:
    assert munge(rows(), 10, np.random.default_rng(0)).shape == (10, 3)
