"""Outcomes reach the fleet, choices follow them, and what was left is tried again in the background."""

from __future__ import annotations

import asyncio

import pytest

from gateway.backends.fake import Times
from gateway.errors import DeadlineExceeded, ExecutionFailed
from gateway.metrics import Metrics
from gateway.virtual_time import run_virtually
from scheduler.probing import EVERY

SLO = {"latency_ms": 30.0, "percentile": 95.0}
LARGE = "sum/large@b:1"


class Machine:
    """How long each variant takes now: `large` as profiled, 20 ms, times a factor that may change."""

    factor = 1.0

    def __call__(self, placement, rows, draw):
        return Times(run_ms=20.0 * self.factor if placement.variant == "sum/large" else 5.0)


@pytest.fixture
def machine():
    return Machine()


async def ask(world, count):
    """The variants that answered so many requests, a second apart."""
    chosen = []
    for _ in range(count):
        chosen.append((await world.predict(SLO)).decision.variant)
        await asyncio.sleep(1.0)
    return chosen


def pace(world):
    return world.snapshots.view()[1].pace(LARGE, world.clock())


def test_choices_leave_what_became_slow_and_return_when_it_recovered(make_world, machine):
    async def main():
        world = make_world(timing=machine)
        assert set(await ask(world, 20)) == {"sum/large"}
        assert pace(world) == 1.0
        machine.factor = 2.0
        left = await ask(world, 50)
        assert left.index("sum/small") <= 6
        assert set(left[-40:]) == {"sum/small"}
        assert pace(world) == pytest.approx(2.0, rel=0.2)
        machine.factor = 1.0
        back = await ask(world, 50)
        assert back[-1] == "sum/large"

    run_virtually(main())


def test_callers_who_give_up_learn_that_it_became_slow_too(make_world, machine):
    async def main():
        world = make_world(timing=machine)
        strict = SLO | {"on_infeasible": "strict"}

        async def ask_strictly(count):
            chosen = []
            for _ in range(count):
                try:
                    chosen.append((await world.predict(strict)).decision.variant)
                except DeadlineExceeded:
                    chosen.append("late")
                await asyncio.sleep(1.0)
            return chosen

        assert set(await ask_strictly(20)) == {"sum/large"}
        machine.factor = 2.0
        left = await ask_strictly(50)
        assert left.count("late") <= 10
        assert set(left[-40:]) == {"sum/small"}
        machine.factor = 1.0
        assert (await ask_strictly(60))[-1] == "sum/large"

    run_virtually(main())


def test_without_probes_nothing_is_tried_again(make_world, machine):
    async def main():
        world = make_world(timing=machine, probes=False)
        await ask(world, 20)
        machine.factor = 2.0
        await ask(world, 20)
        machine.factor = 1.0
        assert set(await ask(world, 50)) == {"sum/small"}

    run_virtually(main())


def test_a_probe_answers_nobody_and_delays_nobody(make_world, machine):
    async def main():
        world = make_world(timing=machine)
        await ask(world, 20)
        machine.factor = 100.0
        await ask(world, 10)
        before = len(world.records)
        latencies = [(await world.predict(SLO)).decision.latency_ms for _ in range(5 * EVERY)]
        assert latencies == pytest.approx([5.0] * len(latencies))
        assert len(world.records) == before + len(latencies)
        assert world.probed
        assert {probe.estimate.placement.id for probe in world.probed} == {LARGE}
        await world.service.close()

    run_virtually(main())


def test_a_probe_that_fails_is_nobodys_error(make_world, machine):
    async def main():
        world = make_world(timing=machine)
        await ask(world, 20)
        machine.factor = 2.0
        await ask(world, 10)
        world.backends["b"].script.extend([ExecutionFailed("broken")] * 3)
        tried = len(world.probed)
        assert set(await ask(world, 10 * EVERY)) == {"sum/small"}
        assert len(world.probed) > tried + 1
        assert len(world.backends["b"].script) < 3

    run_virtually(main())


def test_queueing_is_no_service(make_world, make_tier, machine):
    async def main():
        world = make_world(tiers=(make_tier("a"), make_tier("b", concurrency=1)), timing=machine, queue=8)
        await ask(world, 10)
        for _ in range(10):
            await asyncio.gather(*(world.predict({"min_accuracy": 0.95}) for _ in range(4)))
        assert pace(world) == 1.0

    run_virtually(main())


def test_operators_see_paces_and_probes(make_world, machine):
    async def main():
        world = make_world(timing=machine)
        metrics = Metrics(world.backends)
        metrics.watch(world.snapshots.view, world.clock)
        await ask(world, 20)
        assert f'modelless_pace{{placement="{LARGE}"}} 1.0' in metrics.exposition().decode()
        machine.factor = 2.0
        await ask(world, 30)
        for probe in world.probed:
            metrics.probed(probe)
        shown = metrics.exposition().decode()
        assert f'modelless_pace{{placement="{LARGE}"}} {pace(world)}' in shown
        assert pace(world) > 1.5
        assert f'modelless_probes_total{{task="sum",tier="b"}} {float(len(world.probed))}' in shown

    run_virtually(main())
