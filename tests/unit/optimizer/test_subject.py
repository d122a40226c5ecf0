"""What was noted is recalled only where all that decides a time is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from optimizer.bench import Bench, Run
from optimizer.evaluation import Evaluation
from optimizer.journal import Journal
from optimizer.plan import FULL, QUICK, Plan
from optimizer.subject import CELL, Notes, Subject, facts
from registry.model import Accuracy, Placement, Recipe, Tier, Variant
from registry.prices import local_tiers

VARIANT = Variant("t", "v", "blake3:" + "0" * 64, Recipe("train"), Accuracy(0.5, 0.4, 0.6, 10, "wilson"))
TIER = local_tiers()[1]
X = np.zeros(4, np.float32)


def notes(journal: Journal, tier: Tier = TIER, plan: Plan = FULL, *, x: Any = X, share: str = "cgroup-v2") -> Notes:
    backend = SimpleNamespace(tier=tier, cpu_share=share)
    return Notes(journal, Bench(backend, Evaluation({"x": x}, "y", X), lambda: 0.0), plan)  # type: ignore[arg-type]


def subject(variant: Variant = VARIANT, tier: str = TIER.name, **settings: Any) -> Subject:
    return Subject(Placement(variant.id, tier, **settings), variant)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.jsonl"
    with Journal.open(path, clock=lambda: 5.0) as journal:
        notes(journal).note(subject(), CELL, [[1.0, 2.0], [3.0, 3.0]], rows=4)
        notes(journal).note(subject(), CELL, [[1.5], [3.0]], rows=4)
    return path


def recalled(path: Path, what: Subject, rows: int = 4, **of: Any) -> list[float]:
    with Journal.open(path, clock=lambda: 5.0) as journal:
        return notes(journal, **of).recall_cell(what, rows).ms


def test_the_same_is_recalled_under_any_name_price_and_patience(path: Path) -> None:
    assert recalled(path, subject()) == [1.0, 2.0, 1.5]
    assert recalled(path, subject(), plan=QUICK) == [1.0, 2.0, 1.5]
    renamed = replace(TIER, name="renamed", price=replace(TIER.price, usd_per_request=1.0))
    assert recalled(path, subject(replace(VARIANT, name="w"), "renamed", max_batch=32), tier=renamed) == [1.0, 2.0, 1.5]


def test_another_thing_is_not(path: Path) -> None:
    assert recalled(path, subject(), rows=5) == []
    assert recalled(path, subject(threads=2)) == []
    assert recalled(path, subject(prepack=False)) == []
    assert recalled(path, subject(replace(VARIANT, artifact="blake3:" + "1" * 64))) == []
    assert recalled(path, subject(), tier=replace(TIER, memory_mb=999)) == []
    assert recalled(path, subject(), plan=replace(FULL, burst=1)) == []
    assert recalled(path, subject(), x=X + 1) == []
    assert recalled(path, subject(), share="none") == []


def test_a_subject_knows_its_oldest_run(path: Path) -> None:
    known, new = subject(), subject(threads=2)
    recalled(path, known)
    recalled(path, new)
    assert (known.since, new.since) == (5, None)


def test_a_run_survives_as_facts() -> None:
    run = Run(1.5, cold=True, loaded=False, load_ms=0.0, billed_ms=2.0, peak_mb=None)
    assert Run(**facts(run)) == run
