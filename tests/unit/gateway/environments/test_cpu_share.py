from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from gateway.environments import cpu_share
from gateway.environments.cpu_share import PERIOD_S, DutyCycle, Shares


class Target:
    """A process that exists only in its CPU clock and the signals it got."""

    pid = 4242

    def __init__(self) -> None:
        self.signals: list[int] = []

    def watch(self, on_exit: object) -> None: ...

    def signal(self, number: int) -> None:
        self.signals.append(number)

    @property
    def stopped(self) -> bool:
        last = next((s for s in reversed(self.signals) if s in (signal.SIGSTOP, signal.SIGCONT)), signal.SIGCONT)
        return last == signal.SIGSTOP


class World:
    """Virtual wall and CPU time, and the one timer that the duty cycle keeps armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.cpu = 0.0
        self.private_kb = 0
        self.delay: float | None = None
        self.target = Target()
        monkeypatch.setattr(cpu_share.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(cpu_share.time, "clock_gettime", self._cpu_clock)
        monkeypatch.setattr(cpu_share, "_anonymous_kb", lambda pid: self.private_kb)
        monkeypatch.setattr(DutyCycle, "_arm", lambda share, delay: setattr(self, "delay", delay))

    def _cpu_clock(self, clock: int) -> float:
        assert clock == (~Target.pid << 3) | 2
        return self.cpu

    def run(self, share: DutyCycle, wall_s: float) -> None:
        """A CPU-bound single thread for `wall_s` of wall time."""
        end = self.now + wall_s
        while self.now < end:
            assert self.delay is not None
            step = min(self.delay, end - self.now)
            self.now += step
            self.cpu += 0.0 if self.target.stopped else step
            share._tick()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield World(monkeypatch)
    monkeypatch.undo()


@pytest.mark.parametrize("vcpus", [0.072, 0.25, 0.5, 0.868])
def test_a_busy_process_gets_its_share(world: World, vcpus: float) -> None:
    share = DutyCycle(vcpus, 1024)
    share.attach(world.target)
    world.run(share, 20.0)
    assert world.cpu / world.now == pytest.approx(vcpus, rel=0.03)


def test_a_whole_vcpu_never_stops_one_thread(world: World) -> None:
    share = DutyCycle(1.0, 1769)
    share.attach(world.target)
    world.run(share, 1.0)
    assert world.target.signals == []


def test_idle_time_buys_one_period_at_most(world: World) -> None:
    share = DutyCycle(0.5, 884)
    share.attach(world.target)
    world.now += 10.0
    share._tick()
    before = world.cpu
    world.run(share, PERIOD_S)
    assert world.cpu - before <= PERIOD_S


def test_frozen_stays_stopped_and_thawed_goes_on_within_its_share(world: World) -> None:
    share = DutyCycle(0.25, 442)
    share.attach(world.target)
    world.run(share, 1.0)
    share.freeze()
    assert world.target.stopped
    share._tick()
    assert world.target.stopped
    world.now += 5.0
    share.thaw()
    assert not world.target.stopped
    cpu, now = world.cpu, world.now
    world.run(share, 10.0)
    assert (world.cpu - cpu) / (world.now - now) == pytest.approx(0.25, rel=0.03)


def test_thawed_without_tokens_waits_for_them(world: World) -> None:
    share = DutyCycle(0.1, 177)
    share.attach(world.target)
    world.now += 0.02
    world.cpu += 0.02
    share._tick()
    share.freeze()
    share.thaw()
    assert world.target.stopped
    world.run(share, 0.5)
    assert signal.SIGCONT in world.target.signals


def test_private_memory_over_the_cap_kills(world: World) -> None:
    share = DutyCycle(float("inf"), 100)
    share.attach(world.target)
    world.private_kb = 100 * 1024
    world.run(share, 0.5)
    assert not share.oom_killed()
    world.private_kb += 1
    world.run(share, 0.5)
    assert share.oom_killed()
    assert world.target.signals[-1] == signal.SIGKILL


def test_a_closed_share_touches_nothing(world: World) -> None:
    share = DutyCycle(0.1, 177)
    share.attach(world.target)
    share.close()
    world.now, world.cpu = 1.0, 1.0
    share._tick()
    assert world.target.signals == []


@pytest.mark.parametrize("kind", ["duty-cycle", "none"])
def test_a_rung_of_the_ladder_can_be_asked_for(kind: str) -> None:
    shares = Shares(kind)
    assert shares.kind == kind
    assert isinstance(shares.share(0.5, 884), DutyCycle)
    shares.close()


def test_a_rung_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'magic' is not to be had here"):
        Shares("magic")


async def test_the_clock_of_a_real_process_is_read() -> None:
    share = DutyCycle(0.5, 1 << 20)
    target = Target()
    target.pid = os.getpid()
    share.attach(target)
    share._account()
    share.close()
    assert share._cpu > 0
    await asyncio.sleep(0)
