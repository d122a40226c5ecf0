"""What callers ask for in vain is made, measured and published, and the next of them gets it; nothing is a fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from examples import export
from examples.digits import data
from gateway.app import create_app
from gateway.auth import ANONYMOUS
from gateway.errors import DeadlineExceeded, Infeasible
from gateway.generation.on_demand import expected_now, on_demand
from gateway.generation.warm import warm_made
from gateway.generation.wishes import Wishes
from gateway.generation.worker import answer_all, work
from gateway.local import Platform
from gateway.service import Answer
from optimizer.evaluation import Evaluation
from optimizer.plan import Plan
from optimizer.register import register
from optimizer.registration import Model, Registration
from registry.catalogue import Catalogue
from registry.generations import GenerationState
from registry.lineage import Outcome, Tried
from registry.model import LEVELS, Recipe, Task, TensorSpec
from registry.prices import local_tiers
from registry.stores.generations import FILE, SqliteGenerations

PLAN = Plan(rows=(1, 32), starts=2, cell_s=0.02, least=3, most=10, trials=3)
INLINE = local_tiers()[0]
TASK = Task(
    "digits",
    (TensorSpec("image", "FP32", (-1, 64)),),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 10))),
    "accuracy",
)
TREES, ROWS = 400, 1024
"""So many rows that a batch takes tens of milliseconds: a gateway's own one is then nothing."""


@pytest.fixture(scope="module")
def forest() -> bytes:
    digits = data.load()
    trees = ExtraTreesClassifier(TREES, max_depth=6, random_state=0).fit(digits.train[:600], digits.train_labels[:600])
    return export.classifier(trees, 64, 10, input_name="image")


@pytest.fixture
def generations(tmp_path: Path) -> Iterator[SqliteGenerations]:
    opened = SqliteGenerations(tmp_path / FILE)
    yield opened
    opened.close()


@asynccontextmanager
async def serving(home: Path, forest: bytes, generations: SqliteGenerations) -> AsyncIterator[tuple[Any, Any, Wishes]]:
    """A platform with one forest on one tier, a client of its HTTP face, and what its callers ask for in vain."""
    digits = data.load()
    async with Platform.open(home) as platform:
        platform.serve(INLINE)
        registration = Registration(
            task=TASK,
            evaluation=Evaluation({"image": digits.held_out[:200]}, "label", digits.held_out_labels[:200]),
            calibration={},
            models=(Model("forest", forest, Recipe("onnx"), max_batch=ROWS),),
            tiers=(INLINE,),
        )
        await register(registration, platform.store, platform.blobs, platform.backends, plan=PLAN)
        await platform.refresh()
        wishes = Wishes(expected=partial(expected_now, platform=platform))
        platform.service.generate_with(wishes.observe, wishes.generating)
        app = create_app(platform.service, metrics=platform.metrics, generations=generations)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield platform, client, wishes


def half(catalogue: Catalogue) -> dict[str, Any]:
    """A strict SLO of half of the time that a batch takes now, at the median."""
    profile = catalogue.profiles[catalogue.placements_of("digits")[0].id]
    (whole,) = (s.latency.ms[LEVELS.index(0.5)] for s in profile.service if s.rows == ROWS)
    return {"latency_ms": whole / 2, "percentile": 50, "on_infeasible": "strict"}


def images() -> NDArray[np.float32]:
    return np.resize(data.load().held_out, (ROWS, 64))


async def ask(platform: Platform, slo: dict[str, Any]) -> Answer:
    return await platform.service.predict(ANONYMOUS, "digits", {"image": images()}, slo)


async def held(platform: Platform, slo: dict[str, Any]) -> Answer | None:
    """The answer; None while nothing is expected to hold the SLO. One that a busy machine delays is asked for again."""
    for _ in range(10):
        with suppress(DeadlineExceeded):
            try:
                return await ask(platform, slo)
            except Infeasible:
                return None
    raise AssertionError("a variant that was measured to be fast enough is ten times too late")


async def test_a_strict_slo_that_nothing_held_is_held_by_a_variant_made_for_it(
    tmp_path: Path, forest: bytes, generations: SqliteGenerations
) -> None:
    async with serving(tmp_path, forest, generations) as (platform, client, wishes):
        slo = half(platform.snapshots.view()[0])
        with pytest.raises(Infeasible) as refused:
            await ask(platform, slo)
        assert "generating" not in refused.value.details

        generations.ask(*wishes.take())
        answer_all(platform.store, platform.blobs, generations)
        wishes.see(generations.under_way())
        body = {"inputs": {"image": images().tolist()}, "slo": slo}
        response = await client.post("/v1/tasks/digits/predict", json=body)
        assert response.status_code == 422
        told = response.json()["error"]["generating"]
        assert told["recipe"]["generator"] == "trees"
        listed = (await client.get("/v1/generations")).json()["generations"]
        assert [(generation["id"], generation["state"], generation["recipe"]) for generation in listed] == [
            (told["generation"], "queued", told["recipe"])
        ]

        # What was made may be a little too slow; then the next one is planned from what it took.
        answer = None
        while answer is None:
            done = await work(platform, generations, plan=PLAN)
            assert done
            assert done[-1].state is GenerationState.PUBLISHED
            await warm_made(done[-1], platform)
            answer = await held(platform, slo)
            generations.ask(*wishes.take())
        assert done[-1].tier == "inline"
        assert (await client.get(f"/v1/generations/{done[-1].id}")).json()["state"] == "published"
        assert answer.decision.variant == f"digits/{done[-1].variant}"
        made = platform.store.load().variants[answer.decision.variant]
        assert 0 < int(dict(made.recipe.parameters)["trees"]) < TREES / 2
        assert made.accuracy.value > 0.9
        assert np.mean(answer.outputs["label"][:540] == data.load().held_out_labels) > 0.9


async def test_what_would_hold_an_slo_if_it_were_resident_is_loaded_for_who_asks_again(
    tmp_path: Path, forest: bytes, generations: SqliteGenerations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing is generated."""
    async with serving(tmp_path, forest, generations) as (first, _, _):
        slo = half(first.snapshots.view()[0])
        slo["latency_ms"] *= 3
    async with Platform.open(tmp_path) as platform, on_demand(platform, None):
        ran = runs(platform.backends["inline"], monkeypatch)
        with pytest.raises(Infeasible):
            await ask(platform, slo)
        await asyncio.wait_for(ran.wait(), 20)
        answer = await held(platform, slo)
        assert answer is not None
        assert not answer.decision.loaded
    assert generations.generations() == ()


def runs(backend: Any, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when the backend has run something."""
    ran, invoke = asyncio.Event(), backend.invoke

    async def watched(invocation: Any) -> Any:
        try:
            return await invoke(invocation)
        finally:
            ran.set()

    monkeypatch.setattr(backend, "invoke", watched)
    return ran


async def test_what_nothing_can_hold_makes_no_generation(
    tmp_path: Path, forest: bytes, generations: SqliteGenerations
) -> None:
    async with serving(tmp_path, forest, generations) as (platform, client, wishes):
        for hints in ({"latency_ms": 1e-4}, {"min_accuracy": 1.0, "latency_ms": 1.0}):
            with pytest.raises(Infeasible):
                await ask(platform, {**hints, "on_infeasible": "strict"})
        generations.ask(*wishes.take())
        assert await work(platform, generations, plan=PLAN) == []
        assert generations.pending() == ()
        assert (await client.get("/v1/generations")).json() == {"generations": []}
        assert (await client.get("/v1/generations/nobody")).status_code == 404


async def test_a_generation_that_comes_to_nothing_is_kept_as_tried(
    tmp_path: Path, forest: bytes, generations: SqliteGenerations
) -> None:
    async with serving(tmp_path, forest, generations) as (platform, _, _):
        recipe = Recipe("distill", "forest", (("units", "16"),))  # there are no calibration rows
        basis = platform.store.load().sources["digits"].evaluation
        generations.queue("digits", "distill-16", "distill-16", recipe, basis=basis)
        gone = generations.queue("flowers", "trees-5", "trees-5", Recipe("trees", "forest"), basis=basis)
        first, second = await work(platform, generations, plan=PLAN)
        assert (first.state, first.variant) == (GenerationState.FAILED, "distill-16")
        assert "calibration rows" in first.reason
        tried: Tried = platform.store.load().tried["digits/distill-16"]
        assert tried.outcome is Outcome.FAILED
        assert (second.id, second.state) == (gone.id, GenerationState.FAILED)
        assert "flowers" in second.reason


async def test_what_was_made_is_warmed_where_it_was_wanted(
    tmp_path: Path, forest: bytes, generations: SqliteGenerations
) -> None:
    recipe = Recipe("onnx")
    made = generations.queue("digits", "forest", "", recipe, basis="", tier="inline")
    async with serving(tmp_path, forest, generations) as (platform, _, _):
        inline = platform.backends["inline"]
        await inline.release()
        assert inline.status().resident == {}
        await warm_made(replace(made, variant="gone"), platform)
        await warm_made(replace(made, tier="elsewhere"), platform)
        assert inline.status().resident == {}
        await warm_made(made, platform)
        assert inline.status().resident == {"digits/forest": 1}


async def test_without_a_command_nothing_is_noted(tmp_path: Path) -> None:
    async with Platform.open(tmp_path) as platform, on_demand(platform, None) as opened:
        assert opened.generations() == ()
    async with Platform.open(tmp_path) as platform, on_demand(platform, ["false"]) as opened:
        assert opened.pending() == ()
