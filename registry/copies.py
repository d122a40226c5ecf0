"""Tiers that live by copies of a container for which somebody asks, and what is known of their times; asks for none.

Such a tier does not start for a request, however long that would wait: until a copy answers, calls to it fail at once.
"""

from __future__ import annotations

from registry.model import StartMode, Tier, TierKind

ENDPOINTS = frozenset({TierKind.CONTAINER, TierKind.GPU})
"""Kinds of tier whose environments are copies of a container, paid for by the second."""

START_S = 460.0
"""From asking for the first copy until it answers: measured on an ml.g5.xlarge in July 2026, with the instance; AWS's
own example takes four minutes ("Unlock cost savings with the new scale down to zero feature", AWS Machine Learning
Blog, 2024-12)."""

SCALE_IN_S = 60.0
"""From wanting no copy until it is gone: requests under way end first."""

TAIL_S = 720.0
"""For how long the instance of the last copy is paid for after it is gone; measured as START_S was."""


def by_copies(tier: Tier) -> bool:
    """Whether a tier is there only while somebody asked for copies of it."""
    return tier.kind in ENDPOINTS and tier.start_mode is not StartMode.ALWAYS


def scarce(tier: Tier) -> bool:
    """Whether its copies are dear as well, as on a GPU: an hour of one is ten of a worker's.

    A container on CPUs costs less than one busy worker, and is planned as if it started for a request: how well that
    does was measured (`benchmarks.policies`).
    """
    return by_copies(tier) and tier.kind is TierKind.GPU
