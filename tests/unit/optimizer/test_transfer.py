"""Tasks get to another catalogue with all that they need, measured on its tiers, in one release or not at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from optimizer.artifact import make_artifact
from optimizer.backend import Invocation
from optimizer.errors import MeasurementFailed
from optimizer.evaluation import Evaluation
from optimizer.keep import keep_sources
from optimizer.plan import Plan
from optimizer.transfer import Moved, Transferred, blobs_of, carry, foresee, missing_of, transfer
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.errors import DigestMismatch, NotFound
from registry.model import Accuracy, Placement, Recipe, Slo, StartMode, Task, Tier, TierKind, Variant
from registry.prices import gpu_tier, lambda_tiers, local_tiers
from registry.store import update
from registry.stores.memory import MemoryStore

PLAN = Plan(rows=(1, 4), starts=2, cell_s=0.02, least=4, most=10, burst=2, trials=2, alone=False)
INLINE = local_tiers()[0]
SMALL, LARGE = lambda_tiers()[:2]
ROWS = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
ACCURACY = Accuracy(0.9, 0.8, 1.0, 16, "bootstrap")


@dataclass
class Answer:
    cold: bool
    loaded: bool = False
    load_ms: float = 0.0
    billed_ms: float = 2.0


class Steady:
    """Every run takes two milliseconds, and a start a tenth of a second, by its own clock."""

    def __init__(self, tier: Tier, *, breaks: bool = False) -> None:
        self.tier, self.now, self.runs, self._warm, self._breaks = tier, 0.0, 0, False, breaks

    async def invoke(self, invocation: Invocation) -> Answer:
        self.runs += 1
        if self._breaks:
            raise ConnectionError("gone")
        cold, self._warm = not self._warm, True
        self.now += 0.002 + 0.1 * cold
        return Answer(cold and self.tier.start_mode is not StartMode.ALWAYS)

    async def release(self, copies: int = 0) -> None:
        self._warm = False


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    return Files(tmp_path / "here")


@pytest.fixture
def here(model: bytes, task: Task, blobs: Files) -> Catalogue:
    """One variant for any CPU, one for this machine's, one for GPUs."""
    sources = keep_sources(blobs, task, Evaluation({"x": ROWS}, "y", ROWS[:, :1]), {"x": ROWS}, {"only": model})
    artifact = make_artifact(model, blobs)
    only = Variant(task.name, "only", artifact, Recipe("train"), ACCURACY)
    native = replace(only, name="native", recipe=Recipe("compile", "only", (("level", "avx512"),)))
    half = replace(only, name="half", recipe=Recipe("fp16", "only"))
    placements = (Placement(only.id, INLINE.name, 1, 8, prepack=False), Placement(native.id, INLINE.name, 1, 8))
    base = Catalogue.empty().with_tasks(task).with_tiers(INLINE, gpu_tier()).with_variants(only, native, half)
    return base.with_placements(*placements, Placement(half.id, gpu_tier().name)).with_sources(sources)


async def moved_to(
    store: MemoryStore, here: Catalogue, blobs: Files, *tiers: Tier, fresh: bool = False
) -> tuple[Moved, Transferred]:
    moved = foresee(here, store.load(), ["sum"], tiers, fresh=fresh)
    backends = {tier.name: Steady(tier) for tier in tiers}
    clock = lambda: sum(backend.now for backend in backends.values())  # noqa: E731 - of all of them
    return moved[0], await transfer(moved, store, blobs, backends, plan=PLAN, clock=clock, note="push sum")


async def test_all_is_measured_there_and_published_at_once(here: Catalogue, blobs: Files) -> None:
    store = MemoryStore()
    moved, done = await moved_to(store, here, blobs, SMALL, LARGE)
    there = store.load()

    assert (done.version, [r.note for r in store.history()]) == (1, ["push sum"])
    assert (there.tasks, there.sources) == (here.tasks, here.sources)
    assert sorted(there.variants) == ["sum/only"]
    assert sorted(there.profiles) == ["sum/only@lambda-1769:1u", "sum/only@lambda-3538:2u"] == sorted(there.placements)
    assert [p.service[0].latency.mean for p in there.profiles.values()] == pytest.approx([2.0, 2.0])
    assert [p.init.mean for p in there.profiles.values()] == pytest.approx([100.0, 100.0])
    assert [placement.id for placement, _ in done.measured["sum"]] == sorted(there.placements)
    assert dict(moved.left_out) == {
        "half": "is placed on no tier with a CPU",
        "native": "is compiled for avx512, and one function meets several kinds of CPU",
    }


async def test_what_is_measured_there_is_not_measured_again_unless_asked(here: Catalogue, blobs: Files) -> None:
    store = MemoryStore()
    await moved_to(store, here, blobs, SMALL)
    faster = here.with_tasks(replace(here.tasks["sum"], default_slo=Slo(latency_ms=9.0)))

    again, done = await moved_to(store, faster, blobs, SMALL, LARGE)
    assert again.unmeasured == ("sum/only on lambda-3538",)
    assert [p.id for p, _ in again.kept] == ["sum/only@lambda-1769:1u"]
    assert [p.id for p, _ in done.measured["sum"]] == ["sum/only@lambda-3538:2u"]
    assert store.load().tasks["sum"].default_slo == Slo(latency_ms=9.0)
    assert len(store.load().profiles) == 2

    (anew,) = foresee(here, store.load(), ["sum"], [SMALL, LARGE], fresh=True)
    assert (len(anew.unmeasured), anew.kept) == (2, ())


async def test_a_profile_of_other_bytes_or_another_machine_does_not_count(here: Catalogue, blobs: Files) -> None:
    store = MemoryStore()
    await moved_to(store, here, blobs, SMALL)
    there = store.load()
    other = here.with_variants(replace(here.variants["sum/only"], artifact="blake3:" + "1" * 64))

    assert foresee(other, there, ["sum"], [SMALL])[0].unmeasured == ("sum/only on lambda-1769",)
    assert foresee(here, there, ["sum"], [replace(SMALL, memory_mb=2000)])[0].unmeasured
    assert not foresee(here, there, ["sum"], [SMALL])[0].unmeasured


async def test_placements_on_other_tiers_stay_and_variants_that_are_no_more_go(here: Catalogue, blobs: Files) -> None:
    store = MemoryStore()
    await moved_to(store, here, blobs, SMALL)
    on_gpu = Placement("sum/only", gpu_tier().name)
    old = replace(here.variants["sum/only"], name="old")
    update(store, lambda c: c.with_tiers(gpu_tier()).with_placements(on_gpu).with_variants(old))

    moved, _ = await moved_to(store, here, blobs, SMALL)
    assert moved.removed == ("old",)
    assert set(store.load().placements) == {"sum/only@lambda-1769:1u", on_gpu.id}
    assert set(store.load().variants) == {"sum/only"}


async def test_other_tasks_are_left_as_they_are(here: Catalogue, blobs: Files, task: Task) -> None:
    store = MemoryStore()
    update(store, lambda c: c.with_tasks(replace(task, name="mine")))
    await moved_to(store, here, blobs, SMALL)
    assert set(store.load().tasks) == {"mine", "sum"}


async def test_a_backend_that_breaks_leaves_nothing_published(here: Catalogue, blobs: Files) -> None:
    store = MemoryStore()
    backends = {SMALL.name: Steady(SMALL), LARGE.name: Steady(LARGE, breaks=True)}
    moved = foresee(here, store.load(), ["sum"], [SMALL, LARGE])
    with pytest.raises(ConnectionError):
        await transfer(moved, store, blobs, backends, plan=PLAN, clock=lambda: backends[SMALL.name].now)
    assert store.head() == 0


def test_blobs_that_are_missing_are_carried_and_no_others(here: Catalogue, blobs: Files, tmp_path: Path) -> None:
    target = Files(tmp_path / "there")
    needed = blobs_of(foresee(here, Catalogue.empty(), ["sum"], [SMALL]), blobs)
    sources = here.sources["sum"]
    assert {sources.evaluation, sources.calibration, sources.models[0][1]} < set(needed)
    target.put(blobs.get(needed[0]))

    missing = missing_of(needed, target)
    assert missing == needed[1:]
    assert carry(missing, blobs, target) == sum(len(blobs.get(digest)) for digest in missing)
    assert missing_of(needed, target) == ()


def test_a_damaged_blob_is_not_carried(here: Catalogue, blobs: Files, tmp_path: Path) -> None:
    digest = here.sources["sum"].evaluation
    path = blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"wrong")
    with pytest.raises(DigestMismatch):
        carry([digest], blobs, Files(tmp_path / "there"))
    assert not Files(tmp_path / "there").has(digest)


def test_what_cannot_be_measured_there_says_why(here: Catalogue, task: Task) -> None:
    with pytest.raises(NotFound, match="no task 'some'"):
        foresee(here, Catalogue.empty(), ["some"], [SMALL])
    with pytest.raises(MeasurementFailed, match="register it again"):
        foresee(Catalogue.empty().with_tasks(task), Catalogue.empty(), ["sum"], [SMALL])
    gpu_only = replace(
        here, placements={id_: p for id_, p in here.placements.items() if here.tiers[p.tier].kind is TierKind.GPU}
    )
    with pytest.raises(MeasurementFailed, match="nothing of sum can run there: half is placed on no tier with a CPU"):
        foresee(gpu_only, Catalogue.empty(), ["sum"], [SMALL])
