"""Whether pre-packed weights pay on a placement; a rule over measured times, and never a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

GAIN = 0.10
"""The least gain that counts: medians of equal work on a shared two-core machine differ by up to about this much."""

WINS = 0.75
"""The least share of the pairs of runs that the faster form must win, lest chance decide between equals."""

Times = Sequence[Sequence[float]]
"""Milliseconds by batch size, and by turn: the two forms ran side by side in each turn."""


def pays(packed_ms: Times, unpacked_ms: Times) -> bool:
    """Whether to pre-pack, from times of both forms at the same batch sizes and turns.

    Pre-packed weights are re-laid out in private memory: every environment loads slower and shares nothing. So they
    must earn it: runs at one of the batch sizes clearly faster, and at none of them clearly slower.
    """
    sizes = list(zip(packed_ms, unpacked_ms, strict=True))
    gains = any(clearly_faster(packed, unpacked) for packed, unpacked in sizes)
    return gains and not any(clearly_faster(unpacked, packed) for packed, unpacked in sizes)


def clearly_faster(these_ms: Sequence[float], those_ms: Sequence[float]) -> bool:
    """Whether these runs have a median lower by GAIN, and won WINS of the turns against those."""
    wins = sum(a < b for a, b in zip(these_ms, those_ms, strict=True))
    return median(these_ms) <= (1 - GAIN) * median(those_ms) and wins >= WINS * len(these_ms)
