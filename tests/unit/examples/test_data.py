"""The examples' rows: the same each time, and no held-out row among those trained on."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.diabetes import data as diabetes
from examples.digits import data as digits


def rows_of(array: NDArray[Any]) -> set[bytes]:
    return {row.tobytes() for row in array}


def test_no_digit_is_on_both_sides() -> None:
    loaded = digits.load()
    assert len(loaded.train) + len(loaded.held_out) == 1797
    assert not rows_of(loaded.train) & rows_of(loaded.held_out)
    assert set(np.bincount(loaded.held_out_labels)) <= set(range(51, 58))


def test_no_patient_is_on_both_sides() -> None:
    loaded = diabetes.load()
    assert len(loaded.train) + len(loaded.held_out) == 442
    assert not rows_of(loaded.train) & rows_of(loaded.held_out)


@pytest.mark.parametrize(("data", "width"), [(digits, 64), (diabetes, 10)])
def test_a_sample_is_real_held_out_rows(data: ModuleType, width: int) -> None:
    rows, answers = data.sample(3)
    assert rows.shape == (3, width)
    assert rows.dtype == np.float32
    assert len(answers) == 3
    np.testing.assert_array_equal(rows, data.load().held_out[:3])
    for n in (0, data.HELD_OUT + 1):
        with pytest.raises(ValueError, match=f"use 1 to {data.HELD_OUT}"):
            data.sample(n)


def test_shifting_moves_the_image_and_keeps_its_label() -> None:
    image = np.zeros((8, 8), np.float32)
    image[3, 4] = 16
    rows, labels = digits.shifted(image.reshape(1, 64), np.array([7]))
    assert labels.tolist() == [7] * 5
    peaks = {tuple(int(i) for i in np.argwhere(row.reshape(8, 8))[0]) for row in rows}
    assert peaks == {(3, 4), (2, 4), (4, 4), (3, 3), (3, 5)}
