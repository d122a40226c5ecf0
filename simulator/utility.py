"""What answers are worth in dollars, less what they cost; the one measure that the oracle and every benchmark share."""

from __future__ import annotations

VALUE_USD = 0.001
"""What a right answer is worth, unless told otherwise: what callers pay for one elsewhere. Hosted image recognition is
listed at 1 USD per 1,000 images (Amazon Rekognition's first tier), ten to a thousand times what a run here costs."""


def utility(right: float, usd: float, value_usd: float = VALUE_USD) -> float:
    """Dollars gained: `right` answers that came in time, counted by how probably each is right, at `value_usd` each,
    less all dollars spent. Late, wrong and refused answers are worth nothing (Model-Switching, HotCloud 2020, section
    3, counts them alike)."""
    return right * value_usd - usd


def share_of(gained: float, bound: float) -> float:
    """`gained` as a share of an upper `bound`; 1 where there was nothing to gain, and negative for a loss."""
    return gained / bound if bound > 0 else 1.0 + min(0.0, gained)
