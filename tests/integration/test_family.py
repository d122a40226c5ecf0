"""One call with one model gives a measured family, and a reason for everything that is not in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from examples.digits import data
from examples.digits.build import TASK
from gateway.backends.inline import InlineBackend
from optimizer.errors import InvalidEvaluation, MeasurementFailed, NothingRegistered, Superseded
from optimizer.evaluation import check
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.generate.table import GENERATORS
from optimizer.keep import kept_calibration, kept_evaluation
from optimizer.more import parent_of, proposal, register_more
from optimizer.plan import Plan
from optimizer.register import register
from optimizer.registration import Model, Registration
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.errors import NotFound
from registry.lineage import Outcome, Tried
from registry.model import Recipe, Variant
from registry.prices import local_tiers
from registry.stores.memory import MemoryStore

PLAN = Plan(rows=(1,), extra=0, starts=1, most_starts=1, alone=False, cell_s=0.005, least=3, most=5, trials=4)
INLINE = local_tiers()[0]


@pytest.fixture(scope="module")
def registration() -> Registration:
    digits = data.load()
    estimator = RandomForestClassifier(40, random_state=0)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(digits.train, digits.train_labels)
    model = convert_sklearn(
        pipeline,
        initial_types=[("image", FloatTensorType([None, 64]))],
        final_types=[("label", Int64TensorType([None])), ("probabilities", FloatTensorType([None, 10]))],
        target_opset={"": 18, "ai.onnx.ml": 3},
        options={id(estimator): {"zipmap": False}},
    )
    evaluation = check({"image": digits.held_out, "label": digits.held_out_labels}, TASK)
    original = Model("original", model.SerializeToString(), Recipe("sklearn"), max_batch=8)
    return Registration(TASK, evaluation, {}, (original,), (INLINE,), tuple(GENERATORS))


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    return Files(tmp_path / "blobs")


@pytest.fixture
async def inline(blobs: Files) -> AsyncIterator[InlineBackend]:
    backend = InlineBackend(INLINE, emit=lambda event: None, blobs=blobs)
    yield backend
    await backend.close()


async def test_one_model_gives_a_family_and_reasons(
    registration: Registration, blobs: Files, inline: InlineBackend
) -> None:
    store, seen = MemoryStore(), []
    done = await register(
        registration, store, blobs, {"inline": inline}, plan=PLAN, progress=lambda *step: seen.append(step)
    )
    catalogue = store.load()
    assert (done.version, len(store.history()), done.failures) == (1, 1, ())
    assert catalogue.task("digits").judged == "label"
    names = {variant.name for variant in catalogue.variants_of("digits")}
    tried = {attempt.name: attempt for attempt in catalogue.tried_of("digits")}
    assert "original" in names
    assert len(names) + len(tried) >= 6
    assert not names & set(tried)
    assert set(done.tried) == set(tried.values())
    assert {p.variant for p in done.placements} == {v.id for v in done.variants}
    generators = {v.recipe.generator for v in done.variants} | {attempt.recipe.generator for attempt in done.tried}
    assert generators >= set(GENERATORS)
    assert all(attempt.reason for attempt in tried.values())
    for attempt in tried.values():
        if attempt.outcome is Outcome.DROPPED:
            assert any(attempt.reason.endswith(kept) or f"is {kept}," in attempt.reason for kept in names)
            assert {"accuracy", "size_bytes"} <= dict(attempt.numbers).keys()
    assert any(name.startswith("trees") for name in (*names, *tried))
    assert Catalogue.from_document(catalogue.to_document()) == catalogue
    assert [step[1] for step in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][1] == seen[-1][2]


async def test_what_is_kept_is_what_was_given(registration: Registration, blobs: Files, inline: InlineBackend) -> None:
    store = MemoryStore()
    await register(replace(registration, generate=("int8",)), store, blobs, {"inline": inline}, plan=PLAN)
    catalogue = store.load()
    sources, task = catalogue.sources["digits"], catalogue.task("digits")
    judged, calibration = kept_evaluation(blobs, task, sources), kept_calibration(blobs, task, sources)
    assert (judged.rows, len(calibration["image"])) == (405, 135)
    assert catalogue.variants["digits/original"].accuracy.rows == 405
    parent = parent_of(catalogue, blobs, "digits", "original")
    assert parent.model == registration.models[0].onnx
    np.testing.assert_array_equal(parent.rows["image"], calibration["image"])
    with pytest.raises(NotFound, match="registered variant"):
        parent_of(catalogue, blobs, "digits", "int8")


async def test_rows_that_are_judged_on_may_not_calibrate(
    registration: Registration, blobs: Files, inline: InlineBackend
) -> None:
    store = MemoryStore()
    leaking = replace(registration, calibration=registration.evaluation.batch(20))
    with pytest.raises(InvalidEvaluation, match="nothing but rows of the evaluation"):
        await register(leaking, store, blobs, {"inline": inline}, plan=PLAN)
    assert (store.head(), list(blobs.digests())) == (0, [])


async def test_registering_again_replaces_what_was_tried(
    registration: Registration, blobs: Files, inline: InlineBackend
) -> None:
    store = MemoryStore()
    await register(replace(registration, generate=("int8",)), store, blobs, {"inline": inline}, plan=PLAN)
    assert [attempt.name for attempt in store.load().tried_of("digits")] == ["int8"]
    await register(replace(registration, generate=()), store, blobs, {"inline": inline}, plan=PLAN)
    assert store.load().tried_of("digits") == ()
    assert store.load().variants["digits/original"].accuracy.rows == 540


async def test_a_refused_model_leaves_nothing_behind(
    registration: Registration, blobs: Files, inline: InlineBackend
) -> None:
    store, before = MemoryStore(), tuple(blobs.digests())
    nonsense = Model("original", b"nonsense", Recipe("sklearn"))
    with pytest.raises(NothingRegistered, match=r"original: .*not ONNX"):
        await register(replace(registration, models=(nonsense,)), store, blobs, {"inline": inline}, plan=PLAN)
    assert (store.head(), tuple(blobs.digests())) == (0, before)


def _crash(parent: Parent, parameters: Parameters) -> NoReturn:
    raise ZeroDivisionError


def _copy(parent: Parent, parameters: Parameters) -> Generated:
    return Generated(parent.model, Recipe("copy", parent.name))


def _generator(generate: object) -> Generator:
    return Generator(generate, lambda parent: [], lambda parent, parameters: Expectation(1.0))  # type: ignore[arg-type]


async def test_one_more_variant_joins_a_published_task(
    registration: Registration, blobs: Files, inline: InlineBackend
) -> None:
    store = MemoryStore()
    backends = {"inline": inline}
    alone = replace(registration, generate=())
    first = await register(alone, store, blobs, backends, plan=PLAN)
    wanted = proposal(store.load(), "digits", "original", "trees-10", ("trees", {"percent": "10"}))
    assert (wanted.name, wanted.max_batch) == ("trees-10", 8)

    made = await register_more("digits", wanted, store, blobs, backends, plan=PLAN)
    assert isinstance(made, Variant)
    catalogue = store.load()
    assert catalogue.version == 2
    assert made.recipe.parent == "original"
    assert made.accuracy.rows == 540
    assert set(catalogue.variants) == {"digits/original", "digits/trees-10"}
    assert {p.variant for p in catalogue.placements_of("digits")} == set(catalogue.variants)
    assert set(catalogue.profiles) == set(catalogue.placements)
    assert all(catalogue.profiles[p.placement] == p for p in first.profiles)
    assert catalogue.sources == store.load(1).sources


async def test_one_more_that_comes_to_nothing_is_remembered(
    registration: Registration, blobs: Files, inline: InlineBackend
) -> None:
    store = MemoryStore()
    await register(replace(registration, generate=()), store, blobs, {"inline": inline}, plan=PLAN)
    before = store.load()
    stored = tuple(blobs.digests())
    table = {"copy": _generator(_copy), "crash": _generator(_crash)}
    for name, outcome, reason in (
        ("copy", Outcome.DROPPED, "is original, byte for byte"),
        ("crash", Outcome.FAILED, "ZeroDivisionError: no reason was given"),
    ):
        wanted = Model(name, None, Recipe(name, "original"))
        tried = await register_more("digits", wanted, store, blobs, {"inline": inline}, plan=PLAN, generators=table)
        assert isinstance(tried, Tried)
        assert (tried.outcome, tried.reason) == (outcome, reason)
    after = store.load()
    assert [tried.name for tried in after.tried_of("digits")] == ["copy", "crash"]
    assert (after.variants, after.profiles) == (before.variants, before.profiles)
    assert tuple(blobs.digests()) == stored


async def test_a_task_that_was_registered_again_meanwhile_is_left_alone(
    registration: Registration, blobs: Files, inline: InlineBackend
) -> None:
    store = MemoryStore()
    await register(replace(registration, generate=()), store, blobs, {"inline": inline}, plan=PLAN)

    def interrupted(parent: Parent, parameters: Parameters) -> Generated:
        base = store.load()
        store.publish(base.with_sources(replace(base.sources["digits"], calibration=base.sources["digits"].evaluation)))
        return _copy(parent, parameters)

    wanted = Model("copy", None, Recipe("copy", "original"))
    with pytest.raises(Superseded, match="digits was registered again"):
        await register_more(
            "digits",
            wanted,
            store,
            blobs,
            {"inline": inline},
            plan=PLAN,
            generators={"copy": _generator(interrupted)},
        )
    assert store.load().version == 2
    assert store.load().tried_of("digits") == ()


async def test_one_more_needs_a_tier_to_be_measured_on(
    registration: Registration, blobs: Files, inline: InlineBackend
) -> None:
    store = MemoryStore()
    await register(replace(registration, generate=()), store, blobs, {"inline": inline}, plan=PLAN)
    wanted = Model("copy", None, Recipe("copy", "original"))
    with pytest.raises(MeasurementFailed, match="no backend for inline"):
        await register_more("digits", wanted, store, blobs, {}, plan=PLAN)
    with pytest.raises(NotFound, match="registered variant 'digits/nobody'"):
        await register_more("digits", replace(wanted, recipe=Recipe("copy", "nobody")), store, blobs, {}, plan=PLAN)
    assert store.head() == 1
