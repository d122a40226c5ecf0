"""A home's placements measured again by the command, on the real inline tier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from gateway.local import open_blobs, open_store
from optimizer.artifact import make_artifact
from optimizer.evaluation import Evaluation
from optimizer.fingerprint import fingerprint
from optimizer.keep import keep_sources
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
    Variant,
)
from registry.prices import local_tiers

ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
TASK = Task("product", (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 2)),), "rmse_skill")


@pytest.fixture
def home(tmp_path: Path, graphs: Any) -> Path:
    """One variant on the inline tier, measured long ago on another machine."""
    blobs, store = open_blobs(tmp_path), open_store(tmp_path)
    model = graphs.linear(np.ones((3, 2)))
    sources = keep_sources(blobs, TASK, Evaluation({"x": ROWS}, "y", ROWS[:, :2]), {}, {"only": model})
    variant = Variant(
        "product", "only", make_artifact(model, blobs), Recipe("train"), Accuracy(0.9, 0.8, 1, 40, "test")
    )
    placement = Placement(variant.id, "inline", 1, 8, prepack=False)
    slow = ServiceTime(1, Quantiles((900.0,) * len(LEVELS), 900.0), 900.0)
    profile = Profile(placement.id, (slow,), ZERO, ZERO, 1.0, "elsewhere", "none", 1, "2020-01-01T00:00:00+00:00")
    base = Catalogue.empty().with_tasks(TASK).with_tiers(local_tiers()[0]).with_variants(variant)
    store.publish(base.with_placements(placement).with_profiles(profile).with_sources(sources))
    store.close()
    return tmp_path


def test_the_command_publishes_what_holds_here(home: Path) -> None:
    result = CliRunner().invoke(main, ["profile", "product", "--quick", "--home", str(home), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["catalogue_version"] == 2
    (placement,) = document["placements"]
    assert placement["before"]["p50_ms"] == 900.0 > placement["now"]["p50_ms"] > 0
    assert placement["now"]["fingerprint"] == str(fingerprint())
    assert (home / "measurements.jsonl").stat().st_size > 0

    store = open_store(home)
    profile = store.load().profiles[placement["id"]]
    store.close()
    assert [s.rows for s in profile.service] == [1, 8]

    drawn = CliRunner().invoke(main, ["profile", "product", "--quick", "--home", str(home)])
    assert "Release 3: 1 profiles" in drawn.stdout
