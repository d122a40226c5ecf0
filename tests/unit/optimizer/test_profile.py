"""The profiler finds again the times that a backend on a virtual clock is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from optimizer.backend import Invocation
from optimizer.bench import Bench
from optimizer.errors import MeasurementFailed
from optimizer.evaluation import Evaluation
from optimizer.journal import Journal
from optimizer.plan import Plan
from optimizer.profile import Candidate, expected_steps, profile_tier
from optimizer.progress import Steps
from registry.copies import START_S
from registry.model import ZERO, Accuracy, Price, Profile, Recipe, StartMode, Tier, TierKind, Variant

PLAN = Plan(rows=(1, 4), starts=3, cell_s=0.02, least=4, most=20, burst=2, trials=4)
EVALUATION = Evaluation({"x": np.arange(10, dtype=np.float32)}, "y", np.arange(10))


@dataclass
class Answer:
    cold: bool
    loaded: bool
    load_ms: float
    billed_ms: float
    peak_mb: float | None = None


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
        bend_rows: int | None = None,
        peak_mb: float | None = None,
        ends_after: int | None = None,
    ) -> None:
        self.tier = Tier("t", TierKind.PROCESS, 2.5, 1024, 1, start_mode, Price(1e-5))
        self.now = 0.0
        self.calls: list[str] = []
        self.releases = 0
        self._init_ms, self._capacity, self._snapshot_ms = init_ms, capacity, snapshot_ms
        self._load_ms = load_ms or {True: 20.0, False: 5.0}
        self._row_ms = row_ms or {True: 1.0, False: 1.0}
        self._bend_rows, self._peak_mb, self._ends_after = bend_rows, peak_mb, ends_after
        self._warm = start_mode is StartMode.ALWAYS
        self._resident: list[str] = []

    def clock(self) -> float:
        return self.now

    async def invoke(self, invocation: Invocation) -> Answer:
        placement = invocation.placement
        assert placement.threads == 2
        assert invocation.deadline > self.now
        if len(self.calls) == self._ends_after:
            raise Killed
        self.calls.append(placement.variant)
        cold, loaded = not self._warm, placement.id not in self._resident
        self._warm = True
        if loaded:
            self._resident = [placement.id, *self._resident][: self._capacity]
        load_ms = self._load_ms[placement.prepack] if loaded else 0.0
        # From so many rows on, a batch takes five times as long.
        bent = 5 if self._bend_rows is not None and invocation.rows >= self._bend_rows else 1
        run_ms = self._row_ms[placement.prepack] * invocation.rows * bent
        self.now += ((self._init_ms + self._snapshot_ms) * cold + load_ms + run_ms) / 1e3
        if cold:
            self._snapshot_ms = 0.0
        return Answer(cold, loaded, load_ms, run_ms + load_ms, self._peak_mb)

    async def release(self, copies: int = 0) -> None:
        self.releases += 1
        self._resident = []
        self._warm = self.tier.start_mode is StartMode.ALWAYS


def candidate(name: str, artifact: str = "blake3:" + "0" * 64, **settings: int | bool) -> Candidate:
    accuracy = Accuracy(0.5, 0.4, 0.6, 10, "wilson")
    return Candidate(Variant("task", name, artifact, Recipe("train"), accuracy), **settings)  # type: ignore[arg-type]


async def profiles(backend: Modelled, *candidates: Candidate, plan: Plan = PLAN) -> list[Profile]:
    memory = {(c.variant.id, form): 10.0 * form + 1 for c in candidates for form in (True, False)}
    bench = Bench(backend, EVALUATION, backend.clock)
    measured = await profile_tier(bench, candidates, memory, plan)
    assert [placement.id for placement, _ in measured] == [profile.placement for _, profile in measured]
    return [profile for _, profile in measured]


async def test_a_start_that_no_request_makes_is_what_is_known_of_it() -> None:
    backend = Modelled(StartMode.ALWAYS)
    backend.tier = replace(backend.tier, kind=TierKind.GPU, start_mode=StartMode.PROVISIONED)
    (profile,) = await profiles(backend, candidate("a"))
    assert set(profile.init.ms) == {START_S * 1000}
    assert profile.load.ms == pytest.approx([5.0] * len(profile.load.ms))
    assert profile.peak_mb is None


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
    # A round of starts, one alone for each, a sixth without which no interval of a median exists, and service.
    assert backend.releases == PLAN.starts + 2 + 1 + 1


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
    steps.expect(expected_steps(candidates, PLAN))
    await profile_tier(Bench(backend, EVALUATION, backend.clock), candidates, memory, PLAN, steps=steps)
    assert steps.done == steps.total == expected_steps(candidates, PLAN) + len(candidates)


async def test_a_cell_ends_when_its_quantiles_are_known() -> None:
    patient = replace(PLAN, cell_s=1e6, most=10_000)
    (profile,) = await profiles(Modelled(), candidate("a", prepack=True, max_batch=1), plan=patient)
    # Of 72 samples the largest bounds the 95th percentile; bursts are of two.
    assert profile.samples == 72


async def test_sizes_are_added_where_times_bend() -> None:
    bent = Modelled(row_ms={True: 1.0, False: 1.0}, bend_rows=40)
    plan = replace(PLAN, rows=(1, 8, 32, 48))
    (profile,) = await profiles(bent, candidate("a", prepack=True), plan=plan)
    assert 40 in [s.rows for s in profile.service]
    (straight,) = await profiles(Modelled(), candidate("a", prepack=True), plan=plan)
    assert [s.rows for s in straight.service] == [1, 8, 32, 48, 64]
    assert straight.batch_error == pytest.approx(0.0)


async def test_the_peak_is_of_an_environment_alone() -> None:
    told = Modelled(peak_mb=120.0)
    first, second = await profiles(told, candidate("a", prepack=True), candidate("b", prepack=True))
    assert first.peak_mb == second.peak_mb == 120.0
    (untold,) = await profiles(Modelled(), candidate("a", prepack=True))
    assert untold.peak_mb is None
    (inline,) = await profiles(Modelled(StartMode.ALWAYS, peak_mb=120.0), candidate("a", prepack=True))
    assert inline.peak_mb is None


class Killed(Exception):
    """The measuring process ended."""


async def measured(path: Path, backend: Modelled, *candidates: Candidate) -> list[Profile]:
    memory = {(c.variant.id, form): 1.0 for c in candidates for form in (True, False)}
    with Journal.open(path, clock=lambda: 0.0) as journal:
        bench = Bench(backend, EVALUATION, backend.clock)
        return [profile for _, profile in await profile_tier(bench, candidates, memory, PLAN, journal=journal)]


@pytest.mark.parametrize("calls", [1, 10, 40, 80, 110])
async def test_what_was_measured_before_an_end_is_not_measured_again(tmp_path: Path, calls: int) -> None:
    candidates = (candidate("a"), candidate("b", artifact="blake3:" + "1" * 64, max_batch=4))
    whole = Modelled()
    expected = await measured(tmp_path / "whole.jsonl", whole, *candidates)
    ending = Modelled(ends_after=calls)
    with pytest.raises(Killed):
        await measured(tmp_path / "m.jsonl", ending, *candidates)
    rest = Modelled()
    resumed = await measured(tmp_path / "m.jsonl", rest, *candidates)
    # What is run again: what prepares a pass, and the one turn that was under way.
    assert len(rest.calls) + calls <= len(whole.calls) + 20
    assert len(rest.calls) < len(whole.calls) or calls < 20
    again = Modelled()
    repeated = await measured(tmp_path / "m.jsonl", again, *candidates)
    assert again.calls == []
    assert {profile.measured_at for profile in repeated} == {"1970-01-01T00:00:00+00:00"}
    for one, other in ((expected, resumed), (expected, repeated)):
        assert [shape(p) for p in one] == [shape(p) for p in other]


def shape(profile: Profile) -> tuple[object, ...]:
    """What of a profile of these exact times depends on nothing but the plan."""
    service = [(s.rows, pytest.approx(s.latency.mean), s.billed_ms) for s in profile.service]
    return profile.placement, service, pytest.approx(profile.load.mean), pytest.approx(profile.init.mean)


async def test_a_candidate_that_comes_later_is_measured_by_itself(tmp_path: Path) -> None:
    first, later = candidate("a"), candidate("b", artifact="blake3:" + "1" * 64)
    await measured(tmp_path / "m.jsonl", Modelled(), first)
    backend = Modelled()
    profiles = await measured(tmp_path / "m.jsonl", backend, first, later)
    assert [p.init.mean for p in profiles] == pytest.approx([100.0, 100.0])
    assert backend.calls.count("task/a") < 5 < backend.calls.count("task/b")
