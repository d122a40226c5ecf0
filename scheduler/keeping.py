"""What one environment of a tier that is kept costs, and what it can hold; pure, and decides nothing."""

from __future__ import annotations

from registry.copies import ENDPOINTS
from registry.model import StartMode, Tier, TierKind
from registry.prices import invocation_cost

MEMORY_SHARE = 0.8
"""Of an environment's memory that planned variants may take; the rest is for the runtime and what requests bring."""

RESERVE_MB, INLINE_SHARE = 192, 0.75
"""What a worker keeps from variants, to which it leaves a half at least (runtime.worker), and the part that a gateway's
process leaves them (gateway.backends.inline): what is beyond that would push itself out, every period anew."""

PING_MS = 100.0
"""Billed duration of a warm-up. Those that overlap hold their environments for half as long again, so that each reaches
another one, but are sent less often than is reckoned here."""

RENEWED = 0.5
"""Share of its idle lifetime after which an environment is used once more to keep it; what Lambda's is, nobody says."""


def holding_usd(tier: Tier, period_s: float) -> float:
    """What keeping one environment of a tier warm for a period costs, beyond what is paid whether used or not."""
    if tier.start_mode is StartMode.ALWAYS:
        return 0.0
    if tier.start_mode is StartMode.PROVISIONED or tier.kind in ENDPOINTS:
        return tier.price.usd_per_idle_s * period_s
    return invocation_cost(tier.price, PING_MS) * period_s / (tier.idle_timeout_s * RENEWED)


def kept_mb(tier: Tier) -> float:
    """How much of one environment's memory a tier leaves to resident variants."""
    if tier.kind is TierKind.INLINE:
        return INLINE_SHARE * tier.memory_mb
    return max(tier.memory_mb / 2, tier.memory_mb - RESERVE_MB)


def room_mb(tier: Tier) -> float:
    """How much of one environment of a tier planned variants may take."""
    return min(MEMORY_SHARE * tier.memory_mb, kept_mb(tier))
