"""Variants take turns, and times are those of a clock; their sessions are real."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimizer.contest import PATIENCE_S, TURNS, Entrant, hold
from optimizer.evaluation import Evaluation
from optimizer.make import Made, make
from optimizer.plan import Plan
from optimizer.progress import Steps
from optimizer.registration import Model
from registry.blobs.files import Files
from registry.model import Recipe, Task

RNG = np.random.default_rng(0)
ROWS = {"x": RNG.normal(size=(20, 8)).astype(np.float32)}
EVALUATION = Evaluation(ROWS, "y", RNG.normal(size=(20, 1)).astype(np.float32))
PLAN = Plan(starts=2, burst=2)


@pytest.fixture
def entrants(task: Task, network: Callable[[int], bytes], tmp_path: Path) -> list[Entrant]:
    blobs = Files(tmp_path)
    models = [Model(f"w{width}", network(width), Recipe("train"), max_batch=4) for width in (4, 64)]
    made: list[Made] = [make(task, model, blobs, EVALUATION) for model in models]
    return [Entrant(m, blobs, frozenset({"inline"})) for m in made]


async def test_every_turn_times_every_variant(entrants: list[Entrant]) -> None:
    ticks = itertools.count()
    steps = Steps()
    figures = await hold(entrants, EVALUATION, PLAN, steps, clock=lambda: next(ticks) * 1e-3)
    assert list(figures) == ["w4", "w64"]
    for entrant in entrants:
        found, variant = figures[entrant.made.name], entrant.made.candidate.variant
        # Two readings of the clock to each timing, and so a tick; a batch's is shared by four rows.
        assert (*found.load_ms, *found.row_ms) == pytest.approx((1.0,) * 2 * TURNS)
        assert found.batch_row_ms == pytest.approx((0.25,) * TURNS)
        assert (found.accuracy, found.size_bytes) == (variant.accuracy.value, variant.size_bytes)
        assert found.memory_mb == entrant.made.memory_mb[entrant.made.candidate.prepack is not False]
        assert (found.tiers, found.max_batch) == ({"inline"}, 4)
    assert steps.done == TURNS


async def test_models_that_take_long_have_fewer_turns(entrants: list[Entrant]) -> None:
    ticks = itertools.count()
    steps = Steps()
    figures = await hold(entrants, EVALUATION, PLAN, steps, clock=lambda: next(ticks) * PATIENCE_S)
    assert [len(found.row_ms) for found in figures.values()] == [2, 2]
    assert steps.done == TURNS
