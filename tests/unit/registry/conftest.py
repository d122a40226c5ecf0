"""Facts that the registry's tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registry import prices
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Task,
    TensorSpec,
    Variant,
)

TIMES = Quantiles(tuple(float(i + 1) for i in range(len(LEVELS))), 5.0)


@pytest.fixture
def make_task() -> Callable[..., Task]:
    def make(name: str = "digits", metric: str = "accuracy") -> Task:
        return Task(name, (TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("y", "INT64", (-1,)),), metric)

    return make


@pytest.fixture
def make_variant() -> Callable[..., Variant]:
    def make(name: str = "linear", task: str = "digits", artifact: str = "a") -> Variant:
        recipe = Recipe("sklearn", parameters=(("C", "1"),))
        return Variant(task, name, "blake3:" + artifact * 64, recipe, Accuracy(0.9, 0.85, 0.95, 400, "wilson"), 1000)

    return make


@pytest.fixture
def make_profile() -> Callable[[Placement], Profile]:
    def make(placement: Placement) -> Profile:
        service = tuple(ServiceTime(rows, TIMES, 6.0) for rows in (1, 8))
        return Profile(placement.id, service, TIMES, TIMES, 3.5, "cpu", "cgroup-v2", 200, "2026-11-23T12:00:00+00:00")

    return make


@pytest.fixture
def catalogue(
    make_task: Callable[..., Task],
    make_variant: Callable[..., Variant],
    make_profile: Callable[[Placement], Profile],
) -> Catalogue:
    """Two tasks; `digits` has two variants on two tiers, three of the four placements measured; `empty` has nothing."""
    placements = [
        Placement(f"digits/{name}", tier) for name in ("linear", "forest") for tier in ("process-1769", "inline")
    ]
    return (
        Catalogue.empty()
        .with_tasks(make_task(), make_task("empty"))
        .with_tiers(*prices.local_tiers())
        .with_variants(make_variant(), make_variant("forest", artifact="b"))
        .with_placements(*placements)
        .with_profiles(*(make_profile(p) for p in placements[:3]))
    )
