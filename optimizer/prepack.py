"""Whether pre-packed weights pay on a placement; a rule over measured times, and never a measurement."""

from __future__ import annotations

from collections.abc import Sequence

GAIN = 0.10
"""The least gain that counts: run-to-run medians on a shared two-core machine differ by up to about this much."""


def pays(packed_ms: Sequence[float], unpacked_ms: Sequence[float]) -> bool:
    """Whether to pre-pack, from median times at the same batch sizes.

    Pre-packed weights are re-laid out in private memory: every environment loads slower and shares nothing. So they
    must earn it: a run at one of the batch sizes faster by GAIN or more, and none slower by as much.
    """
    ratios = [packed / unpacked for packed, unpacked in zip(packed_ms, unpacked_ms, strict=True)]
    return min(ratios) <= 1 - GAIN and max(ratios) < 1 + GAIN
