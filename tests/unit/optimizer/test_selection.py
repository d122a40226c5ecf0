"""Generated variants that are somebody else, or nobody's choice, are told apart from those that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer.evaluation import Evaluation
from optimizer.make import Made, make
from optimizer.plan import Plan
from optimizer.progress import Steps
from optimizer.registration import Model
from optimizer.selection import select
from registry.blobs.files import Files
from registry.lineage import Outcome, Tried
from registry.model import Recipe, Task, Tier, TierKind
from registry.prices import local_tiers

RNG = np.random.default_rng(0)
ROWS = {"x": RNG.normal(size=(20, 8)).astype(np.float32)}
EVALUATION = Evaluation(ROWS, "y", RNG.normal(size=(20, 1)).astype(np.float32))
PLAN = Plan(starts=1, burst=3)
INLINE = local_tiers()[0]
GPU = replace(INLINE, name="gpu", kind=TierKind.GPU)

MakeOne = Callable[..., Made]


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def made(task: Task, network: Callable[[int], bytes], blobs: Files) -> MakeOne:
    def made(name: str, width: int, kinds: frozenset[TierKind] | None = None) -> Made:
        return make(task, Model(name, network(width), Recipe("copy"), max_batch=16), blobs, EVALUATION, kinds=kinds)

    return made


async def chosen(
    blobs: Files, kept: list[Made], generated: list[Made], tiers: tuple[Tier, ...] = (INLINE,)
) -> Mapping[str, Tried]:
    steps = Steps()
    dropped = await select(
        [(m, blobs) for m in kept],
        [(m, blobs) for m in generated],
        tiers=tiers,
        evaluation=EVALUATION,
        plan=PLAN,
        steps=steps,
    )
    assert steps.done == steps.total
    assert all(tried.outcome is Outcome.DROPPED for tried in dropped)
    return {tried.name: tried for tried in dropped}


async def test_the_same_bytes_are_one_variant(made: MakeOne, blobs: Files) -> None:
    dropped = await chosen(blobs, [made("original", 16)], [made("twin", 16), made("other", 8), made("third", 8)])
    assert dropped["twin"].reason == "is original, byte for byte"
    assert dropped["third"].reason == "is other, byte for byte"
    assert dict(dropped["twin"].numbers)["accuracy"] == 0.0


async def test_what_is_worse_on_every_axis_is_dropped_with_both_sides_numbers(made: MakeOne, blobs: Files) -> None:
    small, large = made("original", 16), made("larger", 1024)
    assert small.candidate.variant.accuracy.value == large.candidate.variant.accuracy.value
    dropped = await chosen(blobs, [small], [large])
    numbers = dict(dropped["larger"].numbers)
    noise = any(value < numbers.get(f"original.{name}", 0) for name, value in numbers.items())
    assert dropped["larger"].reason == f"is on no axis better {'by more than the noise ' if noise else ''}than original"
    assert numbers["size_bytes"] > numbers["original.size_bytes"]
    assert numbers["p50_ms"] > numbers["original.p50_ms"]


async def test_what_is_smaller_is_kept_and_so_is_what_was_registered(made: MakeOne, blobs: Files) -> None:
    assert await chosen(blobs, [made("original", 1024)], [made("smaller", 16)]) == {}


async def test_what_is_for_other_devices_is_not_timed_here(made: MakeOne, blobs: Files) -> None:
    half = made("half", 1024, kinds=frozenset({TierKind.GPU}))
    assert await chosen(blobs, [made("original", 16)], [half], (INLINE, GPU)) == {}
