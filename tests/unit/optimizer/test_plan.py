"""A plan always covers one row and the largest batch."""

from __future__ import annotations

import pytest

from optimizer.plan import FULL, QUICK


@pytest.mark.parametrize(
    ("max_batch", "sizes"),
    [(64, (1, 2, 4, 8, 16, 32, 64)), (1, (1,)), (10, (1, 2, 4, 8, 10)), (128, (1, 2, 4, 8, 16, 32, 64, 128))],
)
def test_full_sizes(max_batch: int, sizes: tuple[int, ...]) -> None:
    assert FULL.sizes(max_batch) == sizes


def test_quick_sizes() -> None:
    assert QUICK.sizes(64) == (1, 8, 64)
    assert QUICK.sizes(4) == (1, 4)
