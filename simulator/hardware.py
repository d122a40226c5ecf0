"""What a catalogue does not say of a platform: how long idle environments live, what is provisioned, who adds time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from registry.model import Tier
from scheduler.layout import KEPT

Lifetime = Callable[[float], float]
"""For how long (s) an environment stays idle before it goes, for a uniform draw in [0, 1)."""


def constant(seconds: float) -> Lifetime:
    """Always as long."""
    return lambda draw: seconds


def uniform(low_s: float, high_s: float) -> Lifetime:
    """Anything between the two, alike."""
    return lambda draw: low_s + (high_s - low_s) * draw


def lognormal(median_s: float, shape: float) -> Lifetime:
    """Half of them longer than the median; `shape` is the standard deviation of the logarithm."""
    normal = NormalDist()
    return lambda draw: median_s * math.exp(shape * normal.inv_cdf(min(max(draw, 1e-12), 1.0 - 1e-12)))


@dataclass(frozen=True, slots=True)
class Hardware:
    """The platform that is simulated; mappings are by tier name, and what they lack has the default."""

    overhead_ms: float = 0.0
    """What network and gateway add to every answer, whatever runs it (`benchmarks.overhead`: added_p50_ms)."""
    lifetimes: Mapping[str, Lifetime] = field(default_factory=dict)
    """Default: the tier's idle timeout, always."""
    provisioned: Mapping[str, int] = field(default_factory=dict)
    """Environments or copies that are paid for from the start. Default: one copy of a container, and no environment."""
    snapshots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variants (ids) that the environments of a SnapStart tier start with; default: none."""
    start_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds from asking for a container's copy until it answers; default: START_S."""
    scale_in_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds for which a copy is paid for that is wanted no more; default: SCALE_IN_S."""

    def lifetime(self, tier: Tier) -> Lifetime:
        """Of the tier's idle environments."""
        default = math.inf if tier.start_mode in KEPT else tier.idle_timeout_s
        return self.lifetimes.get(tier.name) or constant(default)
