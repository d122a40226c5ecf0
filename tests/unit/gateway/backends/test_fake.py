"""The fake's own promises beyond the contract: what it is told, it does, at the times it is told."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from gateway.backends.fake import FakeBackend, FaultRates, Times, measured, steady
from gateway.backends.protocol import Invocation
from gateway.errors import EnvironmentLost, ExecutionFailed, NotReady, Throttled, TimedOut
from gateway.virtual_time import run_virtually
from registry.model import LEVELS, Placement, Profile, Quantiles, ServiceTime, StartMode

PLACEMENT = Placement("sum/small", "t")


class Rig:
    def __init__(self, make_tier, make_catalogue, *, concurrency=2, memory_mb=1769, **options):
        loop = asyncio.get_running_loop()
        tier = make_tier("t", concurrency=concurrency, memory_mb=memory_mb, idle_timeout_s=60.0)
        self.clock, self.events = loop.time, []
        self.variants = make_catalogue({("small", "t"): 1.0, ("large", "t"): 1.0}).variants
        self.backend = FakeBackend(
            tier, emit=self.events.append, answer=lambda i: {"y": i.inputs["x"]}, clock=self.clock, **options
        )

    def invoke(self, name="small", *, rows=1, within_s=10.0):
        variant = self.variants[f"sum/{name}"]
        inputs = {"x": np.ones((rows, 3), np.float32)}
        return self.backend.invoke(
            Invocation("r", Placement(variant.id, "t"), variant, inputs, self.clock() + within_s)
        )

    def heard(self):
        return [(type(event).__name__, event.environment, event.now) for event in self.events]


@pytest.fixture
def make_rig(make_tier, make_catalogue):
    return lambda **options: Rig(make_tier, make_catalogue, **options)


def test_a_cold_run_takes_init_load_and_service_and_tells_so(make_rig):
    async def main():
        rig = make_rig(timing=steady(init_ms=200, load_ms=30, run_ms=4, row_ms=1))
        reply = await rig.invoke(rows=2)
        assert rig.clock() == pytest.approx(0.236)
        assert (reply.cold, reply.init_ms, reply.load_ms, reply.run_ms, reply.billed_ms) == (True, 200, 30, 6, 36)
        assert [(kind, at) for kind, _, at in rig.heard()] == [
            ("EnvironmentStarting", 0.0),
            ("EnvironmentReady", pytest.approx(0.2)),
            ("EnvironmentBusy", pytest.approx(0.2)),
            ("EnvironmentReady", pytest.approx(0.236)),
        ]

    run_virtually(main())


def test_beyond_its_concurrency_it_throttles_or_queues_as_told(make_rig):
    async def main():
        for queue, throttled in ((0, 2), (1, 1), (2, 0)):
            rig = make_rig(queue=queue)
            outcomes = await asyncio.gather(*(rig.invoke() for _ in range(4)), return_exceptions=True)
            assert sum(isinstance(outcome, Throttled) for outcome in outcomes) == throttled
            assert len({o.environment for o in outcomes if not isinstance(o, Throttled)}) == 2

    run_virtually(main())


def test_a_wait_that_outlasts_the_deadline_times_out_and_takes_no_slot(make_rig):
    async def main():
        rig = make_rig(concurrency=1, queue=1, timing=steady(run_ms=500))
        first = asyncio.create_task(rig.invoke())
        await asyncio.sleep(0)
        with pytest.raises(TimedOut, match="came free"):
            await rig.invoke(within_s=0.1)
        assert (await first).cold
        await rig.invoke()

    run_virtually(main())


def test_a_run_whose_caller_left_goes_on_in_its_environment(make_rig):
    async def main():
        rig = make_rig(concurrency=1, timing=steady(run_ms=500))
        with pytest.raises(TimedOut):
            await rig.invoke(within_s=0.1)
        assert rig.backend.status().busy == 1
        await asyncio.sleep(0.5)
        assert (rig.backend.status().busy, rig.backend.status().idle) == (0, 1)

    run_virtually(main())


def test_idle_environments_expire(make_rig):
    async def main():
        rig = make_rig()
        await rig.invoke()
        await asyncio.sleep(61)
        assert rig.backend.status().idle == 0
        assert (await rig.invoke()).cold
        assert [kind for kind, _, _ in rig.heard()].count("EnvironmentGone") == 1

    run_virtually(main())


def test_residents_are_evicted_when_memory_is_short(make_rig):
    async def main():
        rig = make_rig(concurrency=1)
        small, large = (rig.variants[f"sum/{name}"] for name in ("small", "large"))
        object.__setattr__(large, "size_bytes", 1769 * 2**20 - small.size_bytes + 1)
        loads = [(await rig.invoke(name)).loaded for name in ("small", "small", "large", "small")]
        assert loads == [True, False, True, True]

    run_virtually(main())


def test_a_crash_ends_the_environment(make_rig):
    async def main():
        rig = make_rig(script=[None, EnvironmentLost("oom")])
        await rig.invoke()
        with pytest.raises(EnvironmentLost):
            await rig.invoke()
        assert rig.heard()[-1][0] == "EnvironmentGone"
        assert (await rig.invoke()).cold

    run_virtually(main())


def test_drawn_faults_come_at_their_rates(make_rig):
    async def main():
        rates = FaultRates(throttled=0.1, not_ready=0.1, lost=0.1, failed=0.1)
        rig = make_rig(faults=rates, uniform=random.Random(3).random)
        outcomes = [(await asyncio.gather(rig.invoke(), return_exceptions=True))[0] for _ in range(2000)]
        for kind in (Throttled, NotReady, EnvironmentLost, ExecutionFailed):
            assert 150 <= sum(type(outcome) is kind for outcome in outcomes) <= 250

    run_virtually(main())


def test_ensure_is_bounded_by_the_concurrency(make_rig):
    async def main():
        rig = make_rig()
        variant = rig.variants["sum/small"]
        await rig.backend.ensure(PLACEMENT, variant, 2)
        assert dict(rig.backend.status().resident) == {"sum/small": 2}
        with pytest.raises(Throttled):
            await rig.backend.ensure(PLACEMENT, variant, 3)
        await rig.backend.release(1)
        assert rig.backend.status().idle == 1

    run_virtually(main())


def test_closing_ends_what_runs(make_rig):
    async def main():
        rig = make_rig(timing=steady(run_ms=1000))
        run = asyncio.create_task(rig.invoke())
        await asyncio.sleep(0.1)
        await rig.backend.close()
        with pytest.raises(NotReady):
            await run
        assert rig.clock() == pytest.approx(0.1)
        assert rig.heard()[-1][0] == "EnvironmentGone"

    run_virtually(main())


def test_an_always_on_tier_is_never_cold(make_tier, make_catalogue):
    async def main():
        rig = Rig(make_tier, make_catalogue)
        object.__setattr__(rig.backend.tier, "start_mode", StartMode.ALWAYS)
        assert not (await rig.invoke()).cold

    run_virtually(main())


def test_measured_times_are_the_profiles_quantiles():
    latency = Quantiles(tuple(float(10 * i) for i in range(len(LEVELS))), 45.0)
    service = (ServiceTime(1, latency, 1.0), ServiceTime(8, Quantiles((100.0,) * len(LEVELS), 100.0), 1.0))
    profile = Profile(PLACEMENT.id, service, latency, latency, 1.0, "f", "none", 1, "now")
    timing = measured({PLACEMENT.id: profile})
    assert timing(PLACEMENT, 1, 0.5) == Times(40.0, 40.0, 40.0)
    assert timing(PLACEMENT, 1, 0.625).run_ms == pytest.approx(45.0)
    assert timing(PLACEMENT, 1, 0.0).run_ms == 0.0
    assert timing(PLACEMENT, 1, 0.9999).run_ms == 90.0
    assert timing(PLACEMENT, 2, 0.5).run_ms == 100.0
    assert timing(PLACEMENT, 99, 0.5).run_ms == 100.0
