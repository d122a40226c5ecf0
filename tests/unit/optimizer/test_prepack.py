"""Pre-packing must earn its memory."""

from __future__ import annotations

import pytest

from optimizer.prepack import clearly_faster, pays

EVEN = [1.0, 1.1, 0.9, 1.0]
SLOW = [1.3, 1.4, 1.2, 1.3]


@pytest.mark.parametrize(
    ("packed", "unpacked", "kept"),
    [
        ((EVEN, EVEN), (EVEN, EVEN), False),
        ((EVEN, EVEN), (EVEN, SLOW), True),
        ((EVEN, EVEN), (SLOW, SLOW), True),
        ((SLOW, EVEN), (EVEN, SLOW), False),
        ((SLOW, EVEN), (EVEN, EVEN), False),
    ],
)
def test_the_rule(packed: tuple[list[float], ...], unpacked: tuple[list[float], ...], kept: bool) -> None:
    assert pays(packed, unpacked) is kept


def test_a_small_gain_is_noise() -> None:
    assert not clearly_faster([0.95] * 8, [1.0] * 8)


def test_a_lower_median_that_lost_too_many_turns_is_chance() -> None:
    those = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert clearly_faster([0.5] * 6 + [2.0] * 2, those)
    assert not clearly_faster([0.5] * 5 + [2.0] * 3, those)
