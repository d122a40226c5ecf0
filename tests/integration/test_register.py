"""From a manifest to a published catalogue, measured on the backends that will serve it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from examples import export, folder
from examples.digits import data
from examples.digits.build import TASK
from examples.training import Candidate, derive, train
from gateway.backends.inline import InlineBackend
from gateway.backends.process import ProcessBackend
from gateway.backends.protocol import Invocation, Reply
from gateway.errors import EnvironmentLost
from optimizer.backend import Backend
from optimizer.errors import InvalidEvaluation, MeasurementFailed, NothingRegistered
from optimizer.manifests import registration_of
from optimizer.plan import Plan
from optimizer.progress import Steps
from optimizer.register import register
from optimizer.registration import Registration
from registry.blobs.files import Files
from registry.errors import NotFound
from registry.manifest import load
from registry.model import ZERO, Tier
from registry.prices import local_tiers
from registry.stores.memory import MemoryStore

PLAN = Plan(rows=(1, 8), extra=0, starts=2, most_starts=2, alone=False, cell_s=0.005, least=3, most=5, trials=2)
INLINE, PROCESS, SNAPSTART = local_tiers()[0], local_tiers()[1], local_tiers()[3]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    digits = data.load()
    rows = (digits.train, digits.train_labels)
    estimators = [
        Candidate("logistic", "linear", LogisticRegression(max_iter=2000)),
        Candidate("mlp", "mlp", MLPClassifier(128, max_iter=5, random_state=0)),
    ]
    made = list(train(estimators, rows, rows, lambda e: export.classifier(e, 64, 10, input_name="image")))
    made.append(derive(TASK, made[-1], "int8", "mlp-int8"))
    held_out = {"image": digits.held_out, "label": digits.held_out_labels}
    return folder.write(tmp_path_factory.mktemp("digits"), TASK, held_out, made, Steps())


def registration(manifest: Path, *tiers: Tier) -> Registration:
    """What a manifest says, but on these tiers."""
    return replace(registration_of(load(manifest)), tiers=tiers)


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    return Files(tmp_path / "blobs")


@pytest.fixture
async def inline(blobs: Files) -> AsyncIterator[InlineBackend]:
    backend = InlineBackend(INLINE, emit=lambda event: None, blobs=blobs)
    yield backend
    await backend.close()


def process(tier: Tier, blobs: Files) -> ProcessBackend:
    return ProcessBackend(tier, emit=lambda event: None, blobs_root=blobs.root)


async def test_a_manifest_is_measured_on_every_tier_and_published_once(
    manifest: Path, blobs: Files, inline: InlineBackend
) -> None:
    store = MemoryStore()
    backends = {INLINE.name: inline, PROCESS.name: process(PROCESS, blobs), SNAPSTART.name: process(SNAPSTART, blobs)}
    seen: list[tuple[str, int, int]] = []
    try:
        done = await register(
            registration(manifest, INLINE, PROCESS, SNAPSTART),
            store,
            blobs,
            backends,
            progress=lambda *step: seen.append(step),
            plan=PLAN,
        )
    finally:
        await asyncio.gather(*(backend.close() for backend in backends.values()))
    catalogue = store.load()
    assert (done.version, store.head(), len(store.history())) == (1, 1, 1)
    assert done.failures == ()
    assert catalogue.tasks["digits"] == replace(TASK, judged="label")
    assert [v.name for v in catalogue.variants_of("digits")] == ["logistic", "mlp", "mlp-int8"]
    assert set(catalogue.placements) == set(catalogue.profiles) == {p.id for p in done.placements}
    assert len(done.placements) == 9
    for placement, profile in zip(done.placements, done.profiles, strict=True):
        tier = catalogue.tiers[placement.tier]
        assert placement.threads == tier.threads
        assert [s.rows for s in profile.service] == [1, 8, 64]
        assert profile.load.mean > 0
        assert (profile.init == ZERO) is (tier.name == "inline")
        assert (profile.cpu_share == "none") is (tier.name == "inline")
    inits = {catalogue.placements[p.placement].tier: p.init.mean for p in done.profiles}
    assert inits["process-1769-snapstart"] < inits["process-1769"]
    accuracy = {v.name: v.accuracy for v in done.variants}
    assert accuracy["logistic"].low > 0.9
    assert accuracy["mlp"].rows == 540
    assert seen[-1][1] == seen[-1][2] == len(seen)


async def test_registering_again_replaces_the_task_in_a_new_version(
    manifest: Path, blobs: Files, inline: InlineBackend
) -> None:
    store = MemoryStore()
    whole = registration(manifest, INLINE)
    await register(whole, store, blobs, {INLINE.name: inline}, plan=PLAN)
    part = replace(whole, models=whole.models[:1])
    done = await register(part, store, blobs, {INLINE.name: inline}, plan=PLAN)
    assert done.version == 2
    assert [v.name for v in store.load().variants_of("digits")] == ["logistic"]
    assert set(store.load().profiles) == {p.id for p in done.placements}
    assert len(store.load(1).variants) == 3


async def test_a_variant_that_cannot_be_made_is_left_out(
    manifest: Path, blobs: Files, inline: InlineBackend, tmp_path: Path
) -> None:
    for file in manifest.parent.iterdir():
        (tmp_path / file.name).write_bytes(b"nonsense" if file.name == "mlp.onnx" else file.read_bytes())
    whole = registration(tmp_path / "task.yaml", INLINE)
    done = await register(whole, MemoryStore(), blobs, {INLINE.name: inline}, plan=PLAN)
    assert [v.name for v in done.variants] == ["logistic", "mlp-int8"]
    assert [f.variant for f in done.failures] == ["mlp"]
    assert "not ONNX" in done.failures[0].reason


class Breaking:
    """The inline backend until it breaks for good."""

    def __init__(self, backend: InlineBackend, runs: int) -> None:
        self.tier = backend.tier
        self._backend = backend
        self._left = runs

    async def invoke(self, invocation: Invocation) -> Reply:
        self._left -= 1
        if self._left < 0:
            raise EnvironmentLost("killed")
        return await self._backend.invoke(invocation)

    async def release(self, copies: int = 0) -> None:
        await self._backend.release(copies)


@pytest.mark.parametrize("runs", [0, 30])
async def test_a_tier_that_fails_publishes_nothing(
    manifest: Path, blobs: Files, inline: InlineBackend, runs: int
) -> None:
    store = MemoryStore()
    breaking: Backend = Breaking(inline, runs)
    with pytest.raises(EnvironmentLost):
        await register(registration(manifest, INLINE), store, blobs, {INLINE.name: breaking}, plan=PLAN)
    assert store.head() == 0


async def test_a_tier_without_a_backend_is_named(manifest: Path, blobs: Files, inline: InlineBackend) -> None:
    store = MemoryStore()
    with pytest.raises(MeasurementFailed, match=r"no backend for process-1769; have \['inline'\]"):
        await register(registration(manifest, INLINE, PROCESS), store, blobs, {INLINE.name: inline}, plan=PLAN)
    assert store.head() == 0


async def test_bad_evaluations_and_empty_handed_manifests_publish_nothing(
    manifest: Path, blobs: Files, inline: InlineBackend, tmp_path: Path
) -> None:
    store = MemoryStore()
    for file in manifest.parent.iterdir():
        (tmp_path / file.name).write_bytes(b"nonsense" if file.suffix == ".onnx" else file.read_bytes())
    backends = {INLINE.name: inline}
    with pytest.raises(NothingRegistered, match=r"logistic: .*not ONNX"):
        await register(registration(tmp_path / "task.yaml", INLINE), store, blobs, backends, plan=PLAN)
    np.savez(tmp_path / "eval.npz", image=data.load().held_out)
    with pytest.raises(InvalidEvaluation, match="holds 0 of the outputs"):
        registration(tmp_path / "task.yaml", INLINE)
    with pytest.raises(NotFound):
        store.load().task("digits")
