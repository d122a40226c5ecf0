"""What callers of a stack ask for in vain is made by the optimize function, measured through workers, and published.

Models, generators and workers are real; the table is moto's, and Lambda a pool of workers in this process.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.ensemble import ExtraTreesClassifier

from examples import export
from examples.digits import data
from functions.aws.emf import Emf
from functions.aws.optimizing import HERE, LATER_S, LONGEST_S, TURN, Optimizing, at_once
from functions.aws.settings import OptimizeSettings
from functions.aws.wishing import AGAIN_S
from optimizer.accuracy import share
from optimizer.artifact import make_artifact
from optimizer.backend import Standing
from optimizer.bench import Bench
from optimizer.errors import NoNewEnvironment
from optimizer.evaluation import Evaluation
from optimizer.keep import keep_sources
from optimizer.plan import Plan
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.documents import to_document
from registry.errors import InvalidValue
from registry.generations import Asked, GenerationState
from registry.model import LEVELS, Placement, Profile, Quantiles, Recipe, ServiceTime, Slo, Task, TensorSpec, Variant
from registry.prices import lambda_tiers
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_claims import DynamoClaims
from registry.stores.dynamodb_generations import PARTITION, DynamoGenerations
from registry.stores.dynamodb_table import DynamoTable
from registry.tenants import tenant_hash
from runtime.errors import RuntimeFault
from runtime.worker import Worker

PLAN = Plan(rows=(1, 32), starts=2, cell_s=0.02, least=3, most=8, trials=3)
TIER = next(tier for tier in lambda_tiers() if tier.name == "lambda-1769")
TASK = Task(
    "digits",
    (TensorSpec("image", "FP32", (-1, 64)),),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 10))),
    "accuracy",
)
ROWS = 64
HALF = Asked("digits", Slo(latency_ms=50.0, percentile=50), ROWS)
"""In half of the time that the forest takes."""


def steady(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)


class Lambda:
    """One function: an environment for each call that finds none free, each the real worker."""

    def __init__(self, blobs: Files) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._free: list[Worker] = []
        self.tenants: set[str | None] = set()

    def forget(self) -> None:
        """End every environment."""
        self._free.clear()

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.tenants.add(request.get("TenantId"))
        with self._lock:
            cold = not self._free
            worker = Worker(self._blobs, memory_mb=1769, threads=1) if cold else self._free.pop()
        report = f"REPORT Duration: 1.50 ms Billed Duration: 2 ms{' Init Duration: 100.00 ms' if cold else ''}"
        answer: dict[str, Any] = {"LogResult": base64.b64encode(report.encode()).decode()}
        try:
            body = worker.handle(json.loads(request["Payload"]))
        except RuntimeFault as fault:
            answer["FunctionError"] = "Unhandled"
            body = {"errorType": type(fault).__name__, "errorMessage": str(fault)}
        with self._lock:
            self._free.append(worker)
        return answer | {"Payload": io.BytesIO(json.dumps(body).encode())}


@pytest.fixture(scope="module")
def forest() -> bytes:
    digits = data.load()
    trees = ExtraTreesClassifier(100, max_depth=6, random_state=0).fit(digits.train[:600], digits.train_labels[:600])
    return export.classifier(trees, 64, 10, input_name="image")


class Stack:
    """A table, blobs, a worker, and the optimize function, which can be started anew."""

    def __init__(self, table: DynamoTable, folder: Path) -> None:
        self.table, self.blobs = table, Files(folder)
        self.store, self.worker = DynamoStore(self.table), Lambda(self.blobs)
        self.generations = DynamoGenerations(self.table)
        self.lines: list[str] = []
        self.sent: list[tuple[str, int]] = []

    def publish(self, forest: bytes) -> None:
        """A registered forest that was measured to take 100 ms for ROWS rows."""
        digits = data.load()
        task = replace(TASK, judged="label")
        evaluation = Evaluation({"image": digits.held_out[:100]}, "label", digits.held_out_labels[:100])
        sources = keep_sources(self.blobs, task, evaluation, {}, {"forest": forest})
        variant = Variant("digits", "forest", make_artifact(forest, self.blobs), Recipe("onnx"), share(85, 100))
        placement = Placement(variant.id, TIER.name, max_batch=ROWS)
        service = tuple(ServiceTime(rows, steady(ms), ms) for rows, ms in ((1, 10.0), (ROWS, 100.0)))
        profile = Profile(placement.id, service, steady(50.0), steady(200.0), 20.0, "f", "none", 30, "2026-01-01")
        self.store.publish(
            self.catalogue.with_tasks(task)
            .with_tiers(TIER)
            .with_variants(variant)
            .with_placements(placement)
            .with_profiles(profile)
            .with_sources(sources)
        )

    def counted(self) -> list[tuple[int, int]]:
        """Variants made and not made, as each line of metrics says."""
        return [(line["VariantsMade"], line["VariantsNotMade"]) for line in map(json.loads, self.lines)]

    def send(self, body: str, *, delay_s: int = 0) -> None:
        """As a queue."""
        self.sent.append((body, delay_s))

    def optimizing(self) -> Optimizing:
        settings = OptimizeSettings("facts", "bucket", {TIER.name: "worker:live"}, "queue", isolated=True)
        queue: Any = self
        make: Any = lambda _: self.worker  # noqa: E731
        emf = Emf("stack-optimize", write=self.lines.append)
        return Optimizing(
            settings, table=self.table, queue=queue, blobs=self.blobs, make_lambda=make, emf=emf, plan=PLAN
        )

    @property
    def catalogue(self) -> Catalogue:
        return self.store.load()


@pytest.fixture
def stack(table: DynamoTable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stack:
    stack = Stack(table, tmp_path)

    class Forgetting(Bench):
        """Starts anew without keeping environments busy, which takes seconds and a machine with time to spare."""

        async def forget(self) -> None:
            stack.worker.forget()

    monkeypatch.setattr("optimizer.more.bench_of", Forgetting)
    return stack


def message(asked: Asked) -> str:
    return json.dumps(to_document(asked))


async def test_what_was_asked_in_vain_is_made_measured_and_published(stack: Stack, forest: bytes) -> None:
    stack.publish(forest)
    asked = message(HALF)

    done = await stack.optimizing().once(asked, 900.0)

    assert done is not None
    assert (done.state, done.recipe.generator, done.tier) == (GenerationState.PUBLISHED, "trees", TIER.name)
    variant = stack.catalogue.variants[f"digits/{done.variant}"]
    (placement,) = [p for p in stack.catalogue.placements_of("digits") if p.variant == variant.id]
    assert stack.catalogue.profiles[placement.id].fingerprint
    assert variant.recipe.parent == "forest"
    assert stack.generations.generations() == (done,)
    assert stack.counted() == [(1, 0)]
    assert stack.worker.tenants == {tenant_hash(stack.catalogue.tasks["digits"].owner)}
    # Delivered again, it finds that the variant is there.
    again = await stack.optimizing().once(asked, 900.0)
    assert again is None or again.recipe != done.recipe


async def test_what_another_is_at_or_left_behind(stack: Stack, forest: bytes) -> None:
    stack.publish(forest)
    asked, first = message(HALF), stack.optimizing()
    planned = first._planned(HALF, stack.catalogue)
    assert planned is not None
    running = stack.generations.move(planned.id, GenerationState.RUNNING)
    assert stack.generations.said(HALF) == running

    found = await stack.optimizing().once(asked, 900.0)
    assert found is not None
    assert (found.id, found.state) == (planned.id, GenerationState.RUNNING)
    later = stack.optimizing()
    later._wall = lambda: 4e9
    done = await later.once(asked, 30.0)
    assert done is not None
    assert (done.id, done.restarts, "longer than" in done.reason) == (planned.id, 1, True)


async def test_one_that_takes_too_long_has_failed_and_is_not_tried_again(stack: Stack, forest: bytes) -> None:
    stack.publish(forest)
    asked = message(HALF)

    done = await stack.optimizing().once(asked, 30.0)

    assert done is not None
    assert (done.state, "longer than" in done.reason) == (GenerationState.FAILED, True)
    assert stack.counted() == [(0, 1)]
    again = await stack.optimizing().once(asked, 30.0)
    assert again is None or again.recipe != done.recipe


async def test_while_too_many_stand_warm_nothing_is_tried_and_then_the_same(
    stack: Stack, forest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.publish(forest)

    class Crowded(Bench):
        async def forget(self) -> None:
            raise NoNewEnvironment("lambda-1769 gave no new environment in 9 calls")

    with monkeypatch.context() as crowded:
        crowded.setattr("optimizer.more.bench_of", Crowded)
        failed = await stack.optimizing().once(message(HALF), 900.0)
    assert failed is not None
    assert (failed.state, failed.passing) == (GenerationState.FAILED, True)
    assert await stack.optimizing().once(message(HALF), 900.0) is None
    assert stack.generations.generations() == (failed,)

    later = stack.optimizing()
    later._wall = lambda: time.time() + AGAIN_S
    again = await later.once(message(HALF), 30.0)
    assert again is not None
    assert (again.recipe, again.id != failed.id) == (failed.recipe, True)
    assert "longer than" in again.reason


async def test_one_generation_is_made_at_a_time_and_what_has_to_wait_is_asked_again(
    stack: Stack, forest: bytes
) -> None:
    stack.publish(forest)
    asked = message(HALF)
    now = time.time()
    turn = DynamoClaims(stack.table, PARTITION)
    assert turn.claim(TURN, now, LONGEST_S)

    waiting = await stack.optimizing().once(asked, 900.0)
    assert waiting is not None
    assert (waiting.state, stack.sent) == (GenerationState.QUEUED, [(asked, LATER_S)])
    turn.release(TURN)
    done = await stack.optimizing().once(asked, 30.0)
    assert done is not None
    assert (done.id, done.state) == (waiting.id, GenerationState.FAILED)
    # Its turn is over.
    assert turn.claim(TURN, now, LONGEST_S)


async def test_a_turn_whose_function_died_is_over_when_no_function_can_have_it_any_more(
    stack: Stack, forest: bytes
) -> None:
    stack.publish(forest)
    assert DynamoClaims(stack.table, PARTITION).claim(TURN, time.time() - LONGEST_S - 1, LONGEST_S)
    done = await stack.optimizing().once(message(HALF), 30.0)
    assert done is not None
    assert (done.state, stack.sent) == (GenerationState.FAILED, [])


@pytest.mark.parametrize(("reserved", "expected"), [(0, 16), (1, 1), (3, 1), (8, 2), (20, 5), (500, 16)])
def test_of_what_is_reserved_a_quarter_may_be_taken(reserved: int, expected: int) -> None:
    assert at_once(reserved) == expected
    workers = {TIER.name: "worker:live"}
    optimizing = Optimizing(OptimizeSettings("facts", "bucket", workers, "queue", reserved=reserved))
    optimizing._backends.follow(Catalogue.empty().with_tiers(TIER))
    backend = optimizing._backends.by_tier[TIER.name]
    assert isinstance(backend, Standing)
    assert backend.at_once == expected


async def test_what_nothing_can_be_done_about(stack: Stack) -> None:
    optimizing = stack.optimizing()
    assert await optimizing.once(message(Asked("gone", Slo(latency_ms=1.0))), 900.0) is None
    stack.store.publish(stack.catalogue.with_tasks(replace(TASK, name="digits")))
    assert await optimizing.once(message(Asked("digits", Slo(latency_ms=1.0))), 900.0) is None
    for body in ("", "[]", "{}", '{"task": 1}'):
        with pytest.raises(InvalidValue):
            await optimizing.once(body, 900.0)
    assert stack.generations.generations() == ()


def test_what_needs_more_than_onnx_is_not_made_here() -> None:
    assert set(HERE) == {"compile", "int8", "fp16", "batch", "trees"}
