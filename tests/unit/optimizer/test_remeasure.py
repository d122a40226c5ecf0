"""Published placements are measured again as they are, and only their profiles change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from optimizer.artifact import make_artifact
from optimizer.backend import Invocation
from optimizer.errors import MeasurementFailed
from optimizer.evaluation import Evaluation
from optimizer.journal import Journal
from optimizer.keep import keep_sources
from optimizer.plan import Plan
from optimizer.progress import Steps
from optimizer.remeasure import remeasure
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.errors import NotFound
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    StartMode,
    Task,
    Tier,
    Variant,
)
from registry.prices import local_tiers
from registry.store import update
from registry.stores.memory import MemoryStore

PLAN = Plan(rows=(1, 4), starts=2, cell_s=0.02, least=4, most=10, burst=2, trials=2)
INLINE, PROCESS = local_tiers()[:2]
ROWS = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)


@dataclass
class Answer:
    cold: bool = False
    loaded: bool = False
    load_ms: float = 0.0
    billed_ms: float = 2.0


class Steady:
    """Every run takes two milliseconds, and a start a tenth of a second, by its own clock."""

    def __init__(self, tier: Tier) -> None:
        self.tier, self.now, self.runs, self._warm = tier, 0.0, 0, False

    async def invoke(self, invocation: Invocation) -> Answer:
        self.runs += 1
        cold = not self._warm and self.tier.start_mode is not StartMode.ALWAYS
        self._warm = True
        self.now += 0.002 + 0.1 * cold
        return Answer(cold)

    async def release(self, copies: int = 0) -> None:
        self._warm = False

    def clock(self) -> float:
        return self.now


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    return Files(tmp_path / "blobs")


@pytest.fixture
def store(model: bytes, task: Task, blobs: Files) -> MemoryStore:
    """One variant in two forms inline and in one on a process tier, one of the three not measured yet."""
    sources = keep_sources(blobs, task, Evaluation({"x": ROWS}, "y", ROWS[:, :1]), {}, {"only": model})
    accuracy = Accuracy(0.9, 0.8, 1.0, 16, "bootstrap")
    variant = Variant(task.name, "only", make_artifact(model, blobs), Recipe("train"), accuracy)
    placements = (
        Placement(variant.id, INLINE.name, 1, 8, prepack=True),
        Placement(variant.id, INLINE.name, 1, 8, prepack=False),
        Placement(variant.id, PROCESS.name, 1, 8, prepack=False),
    )
    slow = ServiceTime(1, Quantiles((50.0,) * len(LEVELS), 50.0), 50.0)
    profiles = [Profile(p.id, (slow,), ZERO, ZERO, 1.0, "elsewhere", "none", 1, "then") for p in placements[:2]]
    made = MemoryStore()
    base = Catalogue.empty().with_tasks(task).with_tiers(INLINE, PROCESS).with_variants(variant)
    made.publish(base.with_placements(*placements).with_profiles(*profiles).with_sources(sources))
    return made


async def test_only_profiles_change(store: MemoryStore, blobs: Files) -> None:
    old = store.load()
    backends = {tier.name: Steady(tier) for tier in (INLINE, PROCESS)}
    steps = Steps()
    done = await remeasure(
        "sum",
        store,
        blobs,
        backends,
        plan=PLAN,
        clock=lambda: sum(b.now for b in backends.values()),
        progress=lambda *_: steps.step(""),
    )
    new = store.load()
    assert (done.version, new.version, len(store.history())) == (2, 2, 2)
    assert (new.variants, new.placements, new.tiers, new.tasks) == (old.variants, old.placements, old.tiers, old.tasks)
    assert set(new.profiles) == set(old.placements)
    assert [s.rows for s in new.profiles["sum/only@inline:1"].service] == [1, 4, 8]
    assert all(p.service[0].latency.mean == pytest.approx(2.0) for p in new.profiles.values())
    assert new.profiles["sum/only@process-1769:1u"].init.mean == pytest.approx(100.0)
    assert [None if b is None else b.fingerprint for b in done.before] == ["elsewhere", "elsewhere", None]
    assert steps.done > 3


async def test_some_tiers_only(store: MemoryStore, blobs: Files) -> None:
    backends = {tier.name: Steady(tier) for tier in (INLINE, PROCESS)}
    done = await remeasure(
        "sum", store, blobs, backends, tiers=["process-1769"], plan=PLAN, clock=lambda: backends["process-1769"].now
    )
    assert [p.placement for p in done.profiles] == ["sum/only@process-1769:1u"]
    assert backends["inline"].runs == 0
    assert store.load().profiles["sum/only@inline:1"].fingerprint == "elsewhere"


async def test_what_was_replaced_meanwhile_keeps_its_own_profiles(store: MemoryStore, blobs: Files) -> None:
    backend = Steady(INLINE)

    def replaced(what: str, done: int, total: int) -> None:
        if done == 1:
            variant = store.load().variants["sum/only"]
            update(store, lambda base: base.with_variants(replace(variant, artifact="blake3:" + "1" * 64)))

    await remeasure("sum", store, blobs, {"inline": backend}, plan=PLAN, clock=backend.clock, progress=replaced)
    assert store.load().profiles == {}


async def test_a_journal_spares_the_runs(store: MemoryStore, blobs: Files, tmp_path: Path) -> None:
    for runs in (True, False):
        backend = Steady(INLINE)
        with Journal.open(tmp_path / "m.jsonl") as journal:
            await remeasure(
                "sum",
                store,
                blobs,
                {"inline": backend},
                plan=PLAN,
                clock=backend.clock,
                journal=journal,
            )
        assert bool(backend.runs) is runs


async def test_what_cannot_be_measured_is_named(store: MemoryStore, blobs: Files) -> None:
    backends = {"inline": Steady(INLINE), "other": Steady(replace(INLINE, name="other"))}
    with pytest.raises(NotFound):
        await remeasure("absent", store, blobs, backends)
    with pytest.raises(MeasurementFailed, match="no placement on other; it has some on"):
        await remeasure("sum", store, blobs, backends, tiers=["other"])
    with pytest.raises(MeasurementFailed, match="no backend for process-1769"):
        await remeasure("sum", store, blobs, backends, tiers=["process-1769"])
    with pytest.raises(MeasurementFailed, match="no placement on a tier that there is a backend for"):
        await remeasure("sum", store, blobs, {"other": backends["other"]})
    assert store.head() == 1


async def test_a_task_whose_rows_were_not_kept(store: MemoryStore, blobs: Files) -> None:
    update(store, lambda base: replace(base, sources={}))
    with pytest.raises(MeasurementFailed, match="rows that sum was judged on were not kept; register it again"):
        await remeasure("sum", store, blobs, {"inline": Steady(INLINE)})
