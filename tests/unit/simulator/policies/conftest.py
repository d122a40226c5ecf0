"""Catalogues so small that a paper's rule can be worked out by hand on them: every run takes exactly what is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import NamedTuple

import pytest

from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from scheduler.requests import Request
from simulator.policy import Job

TIERS = {
    "box": Tier("box", TierKind.CONTAINER, 2.0, 4096, 2, StartMode.ALWAYS, Price(0.001, usd_per_idle_s=0.002)),
    "gpu": Tier("gpu", TierKind.GPU, 4.0, 16384, 1, StartMode.ALWAYS, Price(0.004, usd_per_idle_s=0.004)),
    "small": Tier("small", TierKind.LAMBDA, 1.0, 1769, 100, StartMode.ONDEMAND, Price(0.01, usd_per_request=0.0001)),
    "large": Tier("large", TierKind.LAMBDA, 2.0, 3538, 100, StartMode.ONDEMAND, Price(0.02, usd_per_request=0.0001)),
}
"""Two containers, of two slots and of one, and two functions; prices that are easy to add up."""

SLO = Slo(latency_ms=1000.0)


Times = Mapping[int, float]
"""Milliseconds by rows of a run."""


class Model(NamedTuple):
    """A variant: its accuracy, its times, those on tiers where they differ, and its load."""

    accuracy: float
    ms: Times
    on: Mapping[str, Times] = {}
    load_ms: float = 100.0


Build = Callable[..., Catalogue]
Ask = Callable[..., Job]


def quantiles(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)


def profile(placement: Placement, model: Model) -> Profile:
    times = model.on.get(placement.tier, model.ms)
    service = tuple(ServiceTime(rows, quantiles(ms), ms) for rows, ms in sorted(times.items()))
    load, init = quantiles(model.load_ms), quantiles(500.0)
    return Profile(placement.id, service, load, init, 100.0, "none", "none", 1, "2025-01-01T00:00:00Z")


@pytest.fixture
def build() -> Build:
    """A catalogue of one task, `t`, with these models (see Model) on the tiers of these names."""

    def made(given: Mapping[str, tuple[object, ...]], *names: str, slo: Slo = SLO) -> Catalogue:
        models = {name: Model(*model) for name, model in given.items()}
        tiers = [TIERS[name] for name in names]
        x = TensorSpec("x", "FP32", (-1, 4))
        variants = {
            name: Variant("t", name, f"blake3:{i:064x}", Recipe("hand"), Accuracy(m.accuracy, 0.0, 1.0, 9, "wilson"))
            for i, (name, m) in enumerate(models.items())
        }
        placed = {
            Placement(variants[name].id, tier.name, max_batch=max(model.ms)): model
            for name, model in models.items()
            for tier in tiers
        }
        return (
            Catalogue.empty()
            .with_tasks(Task("t", (x,), (x,), "accuracy", default_slo=slo))
            .with_tiers(*tiers)
            .with_variants(*variants.values())
            .with_placements(*placed)
            .with_profiles(*(profile(p, m) for p, m in placed.items()))
        )

    return made


@pytest.fixture
def ask() -> Ask:
    """The next request, which came at this time (s)."""
    number = count()

    def made(arrived: float, slo: Slo = SLO) -> Job:
        return Job(next(number), Request("t", slo), arrived)

    return made
