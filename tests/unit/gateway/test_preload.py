"""What a snapshot holds: the most accurate of each task in turn, while they fit."""

from __future__ import annotations

from dataclasses import replace

from gateway.preload import preloads
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Task,
    TensorSpec,
    Tier,
    Variant,
)
from registry.prices import local_tiers

SNAPSTART = next(tier for tier in local_tiers() if tier.name == "process-1769-snapstart")
ONDEMAND = next(tier for tier in local_tiers() if tier.name == "process-1769")
SPEC = (TensorSpec("x", "FP32", (-1, 3)),)


def catalogue(*facts: tuple[str, float, float], threads: int = 1, measured: bool = True) -> Catalogue:
    """Variants as (id, accuracy, MB), each placed and measured on both tiers."""
    made = Catalogue.empty().with_tiers(SNAPSTART, ONDEMAND)
    for name, accuracy, memory_mb in facts:
        task, _, short = name.partition("/")
        variant = Variant(task, short, "blake3:" + "0" * 64, Recipe("test"), Accuracy(accuracy, 0.0, 1.0, 10, "wilson"))
        made = made.with_tasks(Task(task, SPEC, SPEC, "accuracy")).with_variants(variant)
        for tier in (SNAPSTART, ONDEMAND):
            placement = Placement(variant.id, tier.name, threads=threads)
            service = (ServiceTime(1, Quantiles((1.0,) * len(LEVELS), 1.0), 1.0),)
            profile = Profile(placement.id, service, ZERO, ZERO, memory_mb, "test", "none", 1, "now")
            made = made.with_placements(placement)
            made = made.with_profiles(profile) if measured else made
    return made


def held(made: Catalogue, tier: Tier = SNAPSTART) -> list[str]:
    return [variant.id for _, variant in preloads(tier, made)]


def test_the_most_accurate_of_each_task_come_first() -> None:
    made = catalogue(("a/low", 0.5, 1), ("a/high", 0.9, 1), ("a/mid", 0.7, 1), ("b/low", 0.1, 1), ("b/high", 0.2, 1))

    assert held(made) == ["a/high", "b/high", "a/mid", "b/low", "a/low"]


def test_what_no_longer_fits_in_half_of_the_memory_is_passed_over() -> None:
    half = SNAPSTART.memory_mb / 2
    made = catalogue(("a/first", 0.9, half - 10), ("a/large", 0.8, 11), ("a/small", 0.7, 10), ("a/none", 0.6, 0.1))

    assert held(made) == ["a/first", "a/small"]


def test_the_pairs_are_of_this_tier() -> None:
    ((placement, variant),) = preloads(SNAPSTART, catalogue(("a/only", 0.9, 1)))

    assert (placement.tier, placement.variant) == (SNAPSTART.name, variant.id)


def test_only_snapshots_hold_anything() -> None:
    assert held(catalogue(("a/only", 0.9, 1)), ONDEMAND) == []


def test_what_cannot_be_chosen_or_has_several_threads_stays_out() -> None:
    assert held(catalogue(("a/only", 0.9, 1), measured=False)) == []
    assert held(catalogue(("a/only", 0.9, 1), threads=2)) == []


def test_an_unknown_tier_holds_nothing() -> None:
    assert held(catalogue(("a/only", 0.9, 1)), replace(SNAPSTART, name="elsewhere")) == []
