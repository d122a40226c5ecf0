"""On a tier whose environments cannot be stopped, starts and loads are found in those that were not there before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gateway.virtual_time import run_virtually as virtually
from optimizer.backend import Invocation
from optimizer.bench import Bench
from optimizer.errors import NoNewEnvironment
from optimizer.evaluation import Evaluation
from optimizer.plan import QUICK, Plan
from optimizer.profile import Candidate, profile_tier
from optimizer.standing import MOST_TRIES, StandingBench, bench_of
from registry.model import Accuracy, Placement, Price, Profile, Recipe, StartMode, Tier, TierKind, Variant

EVALUATION = Evaluation({"x": np.arange(10, dtype=np.float32)}, "y", np.arange(10))
PLAN = Plan(rows=(1, 4), starts=3, cell_s=0.02, least=4, most=10, burst=2, trials=2, alone=False)
INIT_S, LOAD_S, RUN_S = 0.2, 0.03, 0.001


@dataclass
class Answer:
    environment: str
    cold: bool
    loaded: bool
    load_ms: float
    billed_ms: float


class Environments:
    """As many environments as calls overlap; they stay, and the one idle longest or shortest answers next."""

    hardware = "elsewhere"

    def __init__(self, *, already: int = 0, next_one: int = 0, at_once: int = 32) -> None:
        self.at_once = at_once
        self.tier = Tier("far", TierKind.LAMBDA, 1.0, 1769, 100, StartMode.ONDEMAND, Price(1e-5))
        self.resident: dict[str, set[str]] = {f"old{n}": {"task/a"} for n in range(already)}
        self._idle, self._next_one = list(self.resident), next_one
        self.occupied: list[int] = []

    async def invoke(self, invocation: Invocation) -> Answer:
        environment, cold = self._taken()
        await asyncio.sleep(INIT_S * cold)
        loaded = invocation.variant.id not in self.resident[environment]
        await asyncio.sleep(LOAD_S * loaded + RUN_S * invocation.rows)
        self.resident[environment].add(invocation.variant.id)
        self._idle.append(environment)
        return Answer(environment, cold, loaded, LOAD_S * 1e3 * loaded, RUN_S * 1e3)

    async def occupy(self, variant: Variant, environments: int, for_ms: int) -> None:
        self.occupied.append(environments)
        assert environments < self.at_once
        taken = [self._taken()[0] for _ in range(environments)]
        await asyncio.sleep(for_ms / 1e3)
        self._idle += taken

    async def release(self, copies: int = 0) -> None:
        raise AssertionError("nobody can stop them")

    def _taken(self) -> tuple[str, bool]:
        if self._idle:
            return self._idle.pop(self._next_one), False
        self.resident[name := f"new{len(self.resident)}"] = set()
        return name, True


def variant(name: str) -> Variant:
    return Variant("task", name, "blake3:" + "0" * 64, Recipe("train"), Accuracy(0.5, 0.4, 0.6, 10, "wilson"))


async def bench_on(backend: Environments) -> StandingBench:
    made = bench_of(backend, EVALUATION, asyncio.get_running_loop().time)
    assert isinstance(made, StandingBench)
    return made


@pytest.mark.parametrize(("next_one", "already"), [(0, 0), (0, 3), (-1, 0), (-1, 3), (-1, 20)])
def test_init_load_and_service_are_told_apart(next_one: int, already: int) -> None:
    backend = Environments(already=already, next_one=next_one)

    async def measured() -> list[Profile]:
        memory = {(f"task/{name}", form): 1.0 for name in "ab" for form in (True, False)}
        candidates = [Candidate(variant(name), 4, 1, prepack=False) for name in "ab"]
        bench = await bench_on(backend)
        return [profile for _, profile in await profile_tier(bench, candidates, memory, PLAN)]

    for profile in virtually(measured()):
        assert profile.init.ms == pytest.approx([INIT_S * 1e3] * len(profile.init.ms), abs=1e-6)
        assert profile.load.ms == pytest.approx([LOAD_S * 1e3] * len(profile.load.ms), abs=1e-6)
        assert [s.latency.mean for s in profile.service] == pytest.approx([1.0, 4.0], abs=1e-6)
        assert profile.fingerprint == "elsewhere"


@pytest.mark.parametrize("already", [0, 3, 10])
def test_a_quick_measurement_keeps_few_environments_busy(already: int) -> None:
    backend = Environments(already=already, at_once=16)

    async def measured() -> int:
        memory = {(f"task/{name}", form): 1.0 for name in "ab" for form in (True, False)}
        candidates = [Candidate(variant(name), 4, 1) for name in "ab"]
        return len(await profile_tier(await bench_on(backend), candidates, memory, QUICK))

    assert virtually(measured()) == 2
    assert max(backend.occupied) < 16


def test_where_too_many_stand_warm_it_is_said_after_a_few_calls() -> None:
    backend = Environments(already=30, at_once=8)

    async def refused() -> None:
        bench = await bench_on(backend)
        await bench.forget()
        await bench.run(Placement("task/a", "far"), variant("a"), 1)

    with pytest.raises(NoNewEnvironment, match="8 calls at once"):
        virtually(refused())
    assert max(backend.occupied) == 7
    assert len(backend.occupied) <= MOST_TRIES


def test_holding_others_busy_is_not_in_the_time_of_a_run() -> None:
    async def timed() -> list[float]:
        bench = await bench_on(Environments())
        placement = Placement("task/a", "far")
        first = await bench.run(placement, variant("a"), 1)
        await bench.forget()
        return [first.ms, (await bench.run(placement, variant("a"), 1)).ms]

    # The first is steady: it is run again until nothing has to be started or loaded for it.
    assert virtually(timed()) == pytest.approx([1.0, 231.0], abs=1e-6)


def test_a_later_run_counts_where_nothing_had_to_be_loaded() -> None:
    async def later() -> bool:
        bench = await bench_on(Environments(already=4))
        placement = Placement("task/b", "far")
        await bench.run(placement, variant("b"), 1)
        return (await bench.run(placement, variant("b"), 1)).loaded

    assert virtually(later()) is False


def test_where_no_environment_can_be_added_it_is_said() -> None:
    async def refused() -> None:
        bench = await bench_on(Lazy(already=1))
        await bench.forget()
        await bench.run(Placement("task/a", "far"), variant("a"), 1)

    with pytest.raises(NoNewEnvironment, match="far gave no new environment in 9 calls"):
        virtually(refused())


class Lazy(Environments):
    """Keeps nobody busy, whatever it is asked."""

    async def occupy(self, variant: Variant, environments: int, for_ms: int) -> None: ...


def test_a_backend_that_stops_its_environments_has_a_plain_bench() -> None:
    class Stopping:
        tier = Environments().tier

        async def invoke(self, invocation: Any) -> Any: ...

        async def release(self, copies: int = 0) -> None: ...

    assert type(bench_of(Stopping(), EVALUATION, lambda: 0.0)) is Bench
