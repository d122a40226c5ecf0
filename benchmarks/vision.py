"""A catalogue of public image classifiers on functions and containers, for simulations; it measures nothing.

Accuracies, parameters and multiply-adds are those that torchvision publishes with its ImageNet weights. Times follow
from them at one rate, so they are those of a plausible machine, not of a measured one: what is compared on them are
policies, which all see the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from math import exp
from typing import NamedTuple

import numpy as np

from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    Placement,
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
from registry.prices import SMALL_SIZES, lambda_tiers, local_tiers
from scheduler.quantiles import SCORES
from simulator.container import START_S

IMAGES = 50_000
"""Of ImageNet's validation set, on which the accuracies were measured."""


class Model(NamedTuple):
    """Top-1 accuracy, millions of parameters, thousands of millions of multiply-adds for one image."""

    name: str
    accuracy: float
    parameters_m: float
    work_g: float


MODELS = (
    Model("mobilenet-v3-small", 0.67668, 2.5, 0.06),
    Model("mobilenet-v3-large", 0.75274, 5.5, 0.22),
    Model("efficientnet-b0", 0.77692, 5.3, 0.39),
    Model("efficientnet-b1", 0.79838, 7.8, 0.69),
    Model("efficientnet-b3", 0.82008, 12.2, 1.83),
    Model("efficientnet-v2-s", 0.84228, 21.5, 8.37),
)

RATE_G = 20.0
"""Thousands of millions of multiply-adds a second on one core: a convolution of ONNX Runtime did 17 to 21 on ours."""

FIXED_MS = 3.0
"""Of every run, whatever the model."""

TWO_CORES = 1.85
BATCH_POWER = 0.93
"""How much faster two cores are, and to which power of the images a run's time grows: CPUs gain little."""

SHAPE = 0.1
"""Of the lognormal service times; LOAD_SHAPE is that of loads and starts."""

LOAD_SHAPE = 0.25
LOAD_MS = 60.0
LOAD_MB_S = 200.0
"""A load takes so long, and the weights come at this pace."""

INIT_MS = {StartMode.ONDEMAND: 600.0, StartMode.SNAPSTART: 300.0}
"""Assumed: a start of a small zip with the microVM's. Ours alone takes 42 ms and 5 ms here (benchmarks.coldstart)."""

BATCHES = (1, 2, 4, 8, 16, 32)

SLO = Slo(latency_ms=750.0, percentile=95.0, min_accuracy=0.75)
"""The bound of Model-Switching's and InfAdapter's experiments, and the accuracy of Cocktail's first class."""


def tiers() -> tuple[Tier, ...]:
    """Lambda's small sizes in all start modes, and a container of two cores whose copies come and go as asked for."""
    containers = (tier for tier in local_tiers() if tier.kind is TierKind.CONTAINER)
    return (*lambda_tiers(SMALL_SIZES), *(replace(tier, start_mode=StartMode.PROVISIONED) for tier in containers))


def catalogue(tasks: Sequence[str] = ("images",), slo: Slo = SLO) -> Catalogue:
    """Every model for every task on every tier."""
    placed = [placed_on(variant_of(task, model), model, tier) for task in tasks for model in MODELS for tier in tiers()]
    return (
        Catalogue.empty()
        .with_tasks(*(_task(name, slo) for name in tasks))
        .with_tiers(*tiers())
        .with_variants(*(variant_of(task, model) for task in tasks for model in MODELS))
        .with_placements(*(placement for placement, _ in placed))
        .with_profiles(*(profile for _, profile in placed))
    )


def _task(name: str, slo: Slo) -> Task:
    image, label = TensorSpec("image", "FP32", (-1, 3, 224, 224)), TensorSpec("label", "INT64", (-1,))
    return Task(name, (image,), (label,), "accuracy", default_slo=slo)


def variant_of(task: str, model: Model, rows: int = IMAGES) -> Variant:
    """A model as a variant of a task, its accuracy measured on so many rows."""
    spread = 1.96 * (model.accuracy * (1 - model.accuracy) / rows) ** 0.5
    accuracy = Accuracy(model.accuracy, model.accuracy - spread, model.accuracy + spread, rows, "wilson")
    digest = f"blake3:{int(model.parameters_m * 1e6):064x}"
    return Variant(task, model.name, digest, Recipe("published"), accuracy, int(model.parameters_m * 4e6))


def placed_on(variant: Variant, model: Model, tier: Tier) -> tuple[Placement, Profile]:
    """A model's variant on a tier, and what is assumed of it there; part of a core takes longer in proportion."""
    placement = Placement(variant.id, tier.name, tier.threads, max_batch=BATCHES[-1])
    return placement, _profile(placement, model, tier)


def _profile(placement: Placement, model: Model, tier: Tier) -> Profile:
    cores = TWO_CORES if tier.threads > 1 else min(1.0, tier.vcpus)
    one_ms, fixed_ms = model.work_g / (RATE_G * cores) * 1000, FIXED_MS / min(1.0, cores)
    service = []
    for rows in BATCHES:
        latency = _lognormal(fixed_ms + one_ms * rows**BATCH_POWER, SHAPE)
        service.append(ServiceTime(rows, latency, latency.mean + tier.price.step_ms / 2))
    megabytes = model.parameters_m * 4
    return Profile(
        placement=placement.id,
        service=tuple(service),
        load=_lognormal(LOAD_MS + megabytes / LOAD_MB_S * 1000, LOAD_SHAPE),
        init=_lognormal(INIT_MS.get(tier.start_mode, START_S * 1000), LOAD_SHAPE),
        memory_mb=20 + 1.5 * megabytes,
        fingerprint="assumed",
        cpu_share="none",
        samples=500,
        measured_at="2025-01-01T00:00:00Z",
    )


@cache
def _lognormal(median_ms: float, shape: float) -> Quantiles:
    """Flat beyond the first and last level, as what is drawn from it is (`simulator.times`)."""
    ms = tuple(median_ms * exp(shape * score) for score in SCORES)
    mean = float(np.trapezoid(ms, LEVELS)) + LEVELS[0] * ms[0] + (1 - LEVELS[-1]) * ms[-1]
    return Quantiles(ms, mean)
