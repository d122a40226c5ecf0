"""A home with a small catalogue in two releases, and a way to run commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
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
    Slo,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import local_tiers
from registry.stores.sqlite import SqliteStore

Invoke = Callable[..., Result]


@pytest.fixture
def invoke() -> Invoke:
    def run(*args: str, **options: Any) -> Result:
        return CliRunner().invoke(main, args, **options)

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path / "catalogue.db")
    first = store.publish(_catalogue("small"), note="register flowers")
    store.publish(_with(first, "large", 0.97, 4.0), note="add large")
    store.close()
    return tmp_path


def _catalogue(variant: str) -> Catalogue:
    task = Task(
        "flowers",
        inputs=(TensorSpec("features", "FP32", (-1, 4)),),
        outputs=(TensorSpec("label", "INT64", (-1,)),),
        metric="accuracy",
        default_slo=Slo(latency_ms=100),
    )
    return _with(Catalogue.empty().with_tasks(task).with_tiers(local_tiers()[0]), variant, 0.9, 1.0)


def _with(catalogue: Catalogue, name: str, accuracy: float, ms: float) -> Catalogue:
    measured = Accuracy(accuracy, accuracy - 0.02, accuracy + 0.02, 500, "wilson")
    variant = Variant("flowers", name, "blake3:" + "0" * 64, Recipe("train"), measured, size_bytes=2_500_000)
    placement = Placement(variant.id, "inline")
    always = Quantiles((ms,) * len(LEVELS), ms)
    profile = Profile(
        placement.id, (ServiceTime(1, always, ms),), ZERO, ZERO, 5.0, "test", "none", 100, "2026-01-01T00:00:00+00:00"
    )
    return catalogue.with_variants(variant).with_placements(placement).with_profiles(profile)
