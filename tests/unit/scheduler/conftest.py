"""Small catalogues whose figures can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)


def flat(ms: float) -> Quantiles:
    """A time that never varies."""
    return Quantiles((ms,) * len(LEVELS), ms)


def ramp(low: float, high: float) -> Quantiles:
    """A uniform time: P(time <= d) = (d - low) / (high - low) between the first level and the last."""
    return Quantiles(tuple(low + (high - low) * level for level in LEVELS), (low + high) / 2)


def tier(name: str, **changes: object) -> Tier:
    """An on-demand tier of two environments that costs a dollar a second."""
    facts: dict[str, object] = {
        "kind": TierKind.PROCESS,
        "vcpus": 1.0,
        "memory_mb": 1769,
        "concurrency": 2,
        "start_mode": StartMode.ONDEMAND,
        "price": Price(usd_per_busy_s=1.0),
        "idle_timeout_s": 100.0,
    }
    return Tier(name, **(facts | changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Spec:
    """One placement of task `t`, by its variant's name, and everything known about it."""

    variant: str
    tier: str = "cpu"
    accuracy: float = 0.9
    service: Mapping[int, Quantiles] = field(default_factory=lambda: {1: flat(10.0), 2: flat(20.0)})
    load: Quantiles = ZERO
    init: Quantiles = ZERO
    threads: int = 1
    max_batch: int = 64
    profiled: bool = True


Build = Callable[..., Catalogue]


def build(*specs: Spec, tiers: tuple[Tier, ...] = ()) -> Catalogue:
    """A catalogue of task `t` with these placements, on `tiers` (by default tier `cpu` alone)."""
    task = Task("t", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1,)),), "accuracy")
    catalogue = Catalogue.empty().with_tasks(task).with_tiers(*(tiers or (tier("cpu"),)))
    for spec in specs:
        accuracy = Accuracy(spec.accuracy, spec.accuracy, spec.accuracy, 100, "wilson")
        variant = Variant("t", spec.variant, f"blake3:{spec.variant}", Recipe("test"), accuracy)
        placement = Placement(variant.id, spec.tier, spec.threads, spec.max_batch)
        catalogue = catalogue.with_variants(variant).with_placements(placement)
        if spec.profiled:
            catalogue = catalogue.with_profiles(_profile(placement, spec))
    return catalogue


def _profile(placement: Placement, spec: Spec) -> Profile:
    service = tuple(ServiceTime(rows, latency, latency.mean) for rows, latency in spec.service.items())
    return Profile(placement.id, service, spec.load, spec.init, 1.0, "test", "none", 100, "2025-01-01T00:00:00Z")


@pytest.fixture(name="build")
def _build() -> Build:
    return build


@pytest.fixture(name="spec")
def _spec() -> type[Spec]:
    return Spec


@pytest.fixture(name="tier")
def _tier() -> Callable[..., Tier]:
    return tier


@pytest.fixture(name="flat")
def _flat() -> Callable[[float], Quantiles]:
    return flat


@pytest.fixture(name="ramp")
def _ramp() -> Callable[[float, float], Quantiles]:
    return ramp
