"""The profiler finds again the times that a backend on a virtual clock is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from optimizer.backend import Invocation
from optimizer.bench import Bench
from optimizer.errors import MeasurementFailed
from optimizer.evaluation import Evaluation
from optimizer.plan import Plan
from optimizer.profile import Candidate, expected_steps, profile_tier
from optimizer.progress import Steps
from registry.model import ZERO, Accuracy, Price, Profile, Recipe, StartMode, Tier, TierKind, Variant

PLAN = Plan(rows=(1, 4), starts=3, cell_s=0.02, least=4, most=20, burst=2, trials=4)
EVALUATION = Evaluation({"x": np.arange(10, dtype=np.float32)}, "y", np.arange(10))


@dataclass
class Answer:
    cold: bool
    loaded: bool
    load_ms: float
    billed_ms: float


class Modelled:
    """One environment at a time, whose every step takes a known time."""

    cpu_share = "virtual"

    def __init__(
        self,
        start_mode: StartMode = StartMode.ONDEMAND,
        *,
        init_ms: float = 100.0,
        load_ms: Mapping[bool, float] | None = None,
        row_ms: Mapping[bool, float] | None = None,
        capacity: int = 100,
        snapshot_ms: float = 0.0,
    ) -> None:
        self.tier = Tier("t", TierKind.PROCESS, 2.5, 1024, 1, start_mode, Price(1e-5))
        self.now = 0.0
        self.calls: list[str] = []
        self.releases = 0
        self._init_ms, self._capacity, self._snapshot_ms = init_ms, capacity, snapshot_ms
        self._load_ms = load_ms or {True: 20.0, False: 5.0}
        self._row_ms = row_ms or {True: 1.0, False: 1.0}
        self._warm = start_mode is StartMode.ALWAYS
        self._resident: list[str] = []

    def clock(self) -> float:
        return self.now

    async def invoke(self, invocation: Invocation) -> Answer:
        placement = invocation.placement
        assert placement.threads == 2
        assert invocation.deadline > self.now
        self.calls.append(placement.variant)
        cold, loaded = not self._warm, placement.id not in self._resident
        self._warm = True
        if loaded:
            self._resident = [placement.id, *self._resident][: self._capacity]
        load_ms = self._load_ms[placement.prepack] if loaded else 0.0
        run_ms = self._row_ms[placement.prepack] * invocation.rows
        self.now += ((self._init_ms + self._snapshot_ms) * cold + load_ms + run_ms) / 1e3
        if cold:
            self._snapshot_ms = 0.0
        return Answer(cold, loaded, load_ms, run_ms + load_ms)

    async def release(self, copies: int = 0) -> None:
        self.releases += 1
        self._resident = []
        self._warm = self.tier.start_mode is StartMode.ALWAYS


def candidate(name: str, **settings: int | bool) -> Candidate:
    accuracy = Accuracy(0.5, 0.4, 0.6, 10, "wilson")
    return Candidate(Variant("task", name, "blake3:" + "0" * 64, Recipe("train"), accuracy), **settings)  # type: ignore[arg-type]


async def profiles(backend: Modelled, *candidates: Candidate, plan: Plan = PLAN) -> list[Profile]:
    memory = {(c.variant.id, form): 10.0 * form + 1 for c in candidates for form in (True, False)}
    bench = Bench(backend, EVALUATION, backend.clock)
    measured = await profile_tier(bench, candidates, memory, plan)
    assert [placement.id for placement, _ in measured] == [profile.placement for _, profile in measured]
    return [profile for _, profile in measured]


async def test_init_load_and_service_are_told_apart() -> None:
    backend = Modelled(snapshot_ms=900.0)
    first, second = await profiles(backend, candidate("a"), candidate("b"))
    for profile in (first, second):
        assert profile.init.ms == pytest.approx([100.0] * len(profile.init.ms))
        assert profile.load.ms == pytest.approx([5.0] * len(profile.load.ms))
        assert [s.rows for s in profile.service] == [1, 4, 64]
        assert [s.latency.mean for s in profile.service] == pytest.approx([1.0, 4.0, 64.0])
        assert [s.billed_ms for s in profile.service] == pytest.approx([1.0, 4.0, 64.0])
        assert profile.cpu_share == "virtual"
    assert first.placement == "task/a@t:2u"


async def test_a_single_candidate_in_a_single_form_is_told_apart_too() -> None:
    (profile,) = await profiles(Modelled(), candidate("a", prepack=False))
    assert profile.init.mean == pytest.approx(100.0)
    assert profile.load.mean == pytest.approx(5.0)


async def test_a_tier_that_always_runs_has_no_init() -> None:
    (profile,) = await profiles(Modelled(StartMode.ALWAYS), candidate("a"))
    assert profile.init == ZERO
    assert profile.load.mean == pytest.approx(5.0)


async def test_pre_packing_is_kept_where_it_pays() -> None:
    faster = Modelled(row_ms={True: 0.5, False: 1.0})
    (profile,) = await profiles(faster, candidate("a"))
    assert profile.placement == "task/a@t:2"
    assert profile.load.mean == pytest.approx(20.0)
    assert profile.memory_mb == 11.0


async def test_settings_of_the_manifest_bind() -> None:
    faster = Modelled(row_ms={True: 0.5, False: 1.0})
    (profile,) = await profiles(faster, candidate("a", prepack=False, threads=2, max_batch=6))
    assert profile.placement == "task/a@t:2u"
    assert [s.rows for s in profile.service] == [1, 4, 6]


async def test_a_cell_ends_by_count_or_by_time() -> None:
    (profile,) = await profiles(Modelled(), candidate("a", prepack=True, max_batch=4))
    # 1 ms runs reach `most` before 20 ms are up; 4 ms ones stop at the first full burst past 20 ms.
    assert profile.samples == 20 + 6


async def test_candidates_take_turns() -> None:
    backend = Modelled()
    await profiles(backend, candidate("a", prepack=True), candidate("b", prepack=True))
    tail = backend.calls[-12:]
    assert {"task/a", "task/b"} == set(tail)
    starts = [backend.calls[1 + 2 * turn] for turn in range(PLAN.starts)]
    assert set(starts) == {"task/a", "task/b"}
    assert backend.releases == PLAN.starts + 1


async def test_what_never_stays_loaded_cannot_be_measured() -> None:
    with pytest.raises(MeasurementFailed, match=r"task/a@t:2u does not stay loaded on its tier"):
        await profiles(Modelled(capacity=0), candidate("a", prepack=False))


async def test_a_tier_that_never_starts_cannot_be_measured() -> None:
    backend = Modelled(StartMode.ALWAYS)
    backend.tier = Tier("t", TierKind.PROCESS, 2.5, 1024, 1, StartMode.ONDEMAND, Price(1e-5))
    backend.release = _keep  # type: ignore[method-assign]
    with pytest.raises(MeasurementFailed, match="never started an environment"):
        await profiles(backend, candidate("a"))


async def _keep(copies: int = 0) -> None:
    """An environment that does not end."""


async def test_the_steps_reported_are_those_expected() -> None:
    backend, steps = Modelled(), Steps()
    candidates = [candidate("a"), candidate("b", max_batch=4)]
    memory = {(c.variant.id, form): 1.0 for c in candidates for form in (True, False)}
    await profile_tier(Bench(backend, EVALUATION, backend.clock), candidates, memory, PLAN, steps=steps)
    assert steps.done == expected_steps(candidates, PLAN)
