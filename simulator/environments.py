"""One function's execution environments, as Lambda runs them: one request each, cold starts, limits, expiry, prices.

An environment that has expired is found missing when one is wanted, and no event tells it before: Lambda tells nobody.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from registry.model import Placement, StartMode, Tier, TierKind
from registry.prices import lambda_price
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting, SnapshotTaken
from scheduler.keeping import PING_MS, kept_mb
from scheduler.layout import KEPT
from simulator.bill import Meter
from simulator.clock import END, START
from simulator.host import Stage, Use, failed
from simulator.policy import Ended, Invoke

QUEUE = 128
"""Requests that may wait for an environment of a `process` tier (`gateway.backends.process`); on Lambda none may."""

BURST = 1000
"""New environments of one function within BURST_S (Lambda quotas, function scaling: 1,000 every 10 s)."""

BURST_S = 10.0

LEAST_PROVISIONED_S = 300.0
"""Provisioned concurrency is billed for five minutes at least (Lambda pricing)."""

UNLOAD_MS = 1.0
"""An invocation that only drops a session: the least that Lambda bills."""

THROTTLED_S = {TierKind.LAMBDA: 0.5, TierKind.PROCESS: 0.1}
"""When a throttled caller is to ask again (`gateway.backends.lambda_`, `gateway.environments.pool`)."""

NOT_READY_S = 5.0
"""When to ask again for what cannot run (`gateway.backends.lambda_`)."""


@dataclass(slots=True, eq=False)
class Environment:
    """One environment; `provisioned` ones stay until they are provisioned no more."""

    id: str
    expected: str = ""
    """The variant that it starts for."""
    resident: dict[str, float] = field(default_factory=dict)
    """Variant id to MB, the least recently used first."""
    provisioned_at: float | None = None
    """Since when (s) it is paid for whether used or not; None: it is not."""
    unwanted: bool = False
    """It goes as soon as it is idle."""
    idle_since: float = 0.0
    dies_at: float = math.inf


@dataclass(slots=True, eq=False)
class _Going:
    """One invocation in one environment, or on its way to one."""

    invoke: Invoke
    began: float
    cold: bool = False
    init_ms: float | None = None
    cancelled: bool = False


class Environments:
    """The Host of a `lambda` or `process` tier."""

    def __init__(self, tier: Tier, stage: Stage) -> None:
        self.tier = tier
        self._stage, self._clock, self._times = stage, stage.clock, stage.times
        self._emit, self._ended = stage.emit, stage.ended
        self._lifetime = stage.hardware.lifetime(tier)
        self._snapshot = stage.hardware.snapshots.get(tier.name, ())
        self._meter, self._provisioned_meter = _meters(tier)
        self._room = QUEUE if tier.kind is TierKind.PROCESS else 0
        self._bound = tier.kind is TierKind.LAMBDA or tier.name in stage.hardware.bound
        catalogue = stage.catalogue
        profiled = [p for p in catalogue.placements.values() if p.tier == tier.name and p.id in catalogue.profiles]
        self._memory = {p.variant: catalogue.profiles[p.id].memory_mb for p in profiled}
        self._room_mb = kept_mb(tier)
        self._any = next(iter(profiled), None)
        """What is started where nobody says for what."""
        self._all: dict[str, Environment] = {}
        self._idle: list[Environment] = []
        """The most recently used last."""
        self._taken = 0
        """Environments that start, run or are being warmed: no request can have them."""
        self._waiting: deque[_Going] = deque()
        self._to_warm: deque[tuple[Placement, int, float]] = deque()
        self._warming = 0
        """Warm-ups under way."""
        self._starting = 0
        """Environments that start for whoever will wait longest by then."""
        self._going: dict[int, _Going] = {}
        self._provisioned = 0
        self._started = 0
        self._first_death = math.inf
        """No environment goes before this (s)."""
        self._idle_s = 0.0
        self._burst, self._burst_at = float(BURST), 0.0

    def open(self) -> None:
        """See Host."""
        if self._snapshot:
            self._emit(SnapshotTaken(self.tier.name, tuple(sorted(self._snapshot)), self._clock.now))
        standing, anything = self._stage.hardware.provisioned.get(self.tier.name, 0), self._any
        for _ in range(min(standing, self.tier.concurrency)):
            if anything is not None:
                self._provisioned += 1
                self._ready(self._begun(anything), 0.0, partial(self._provided, self._clock.now))

    def invoke(self, invoke: Invoke) -> None:
        """See Host."""
        going = _Going(invoke, self._clock.now)
        if invoke.placement.id not in self._stage.catalogue.profiles:
            self._fail(going, "not ready", NOT_READY_S)
        elif not self._bound:
            self._join(going)
        elif self._taken < self.tier.concurrency:
            self._begin(going)
        elif len(self._waiting) < self._room:
            self._waiting.append(going)
        else:
            self._fail(going, "throttled", THROTTLED_S[self.tier.kind])

    def warm(self, placement: Placement, copies: int, for_s: float) -> None:
        """See Host. A warm-up is an invocation that runs nothing; it is billed as one, and takes an environment.

        One placement after the other (`gateway.capacity.carry_out`): what is to live together would else start an
        environment each.
        """
        self._to_warm.append((placement, copies, for_s))
        self._warm_next()

    def _idles_out(self, environment: Environment) -> bool:
        return environment.provisioned_at is None and self.tier.start_mode not in KEPT

    def unload(self, placement: Placement) -> None:
        """See Host. Each is an invocation, too, after which the environment is as fresh as after any."""
        self._expire()
        for environment in [e for e in self._idle if placement.variant in e.resident]:
            self._take(environment)
            self._emit(EnvironmentBusy(self.tier.name, environment.id, self._clock.now))
            del environment.resident[placement.variant]
            self._meter_of(environment).add(UNLOAD_MS)
            self._release(environment)

    def shrink(self, copies: int) -> None:
        """See Host. When Lambda's environments go is Lambda's own affair."""
        if self.tier.kind is TierKind.PROCESS:
            self._expire()
            spare = [e for e in self._idle if e.provisioned_at is None]
            for environment in spare[: max(0, len(self._idle) - copies)]:
                self._drop(environment, "released")

    def provision(self, copies: int) -> None:
        """See Host. Those that are there unasked stay what they are; what is wanted no more goes when it is idle."""
        wanted, anything = min(copies, self.tier.concurrency), self._any
        while anything is not None and self._provisioned < wanted and self._taken < self.tier.concurrency:
            if not self._may_start():
                break
            self._provisioned += 1
            self._start(anything, partial(self._provided, self._clock.now))
        surplus = self._provisioned - wanted
        if surplus > 0:
            kept = [e for e in self._all.values() if e.provisioned_at is not None and not e.unwanted]
            for environment in sorted(kept, key=lambda e: e not in self._idle)[:surplus]:
                self._provisioned -= 1
                environment.unwanted = True
                if environment in self._idle:
                    self._drop(environment, "provisioned no more")

    def cancel(self, invoke: Invoke) -> None:
        """See Host."""
        going = self._going.get(id(invoke))
        if going is not None:
            going.cancelled = True
            return
        for waiting in self._waiting:
            if waiting.invoke is invoke:
                self._waiting.remove(waiting)
                return

    def close(self, seconds: float) -> Use:
        """See Host."""
        for environment in self._idle:
            self._idle_s += max(0.0, min(seconds, environment.dies_at) - environment.idle_since)
        for environment in self._all.values():
            if environment.provisioned_at is not None:
                self._provisioned_meter.idle_s += max(0.0, seconds - environment.provisioned_at)
        if self.tier.start_mode is StartMode.SNAPSTART and self._snapshot:
            self._meter.idle_s += seconds
        dollars = self._meter.dollars() + self._provisioned_meter.dollars()
        return Use(dollars, self._idle_s, self._started)

    # A request's course

    def _fail(self, going: _Going, reason: str, retry_after_s: float) -> None:
        end = failed(self._stage, going.invoke, reason, retry_after_s)
        self._clock.at(self._clock.now, END, partial(self._ended, end, 0.0))

    def _join(self, going: _Going) -> None:
        """In an idle environment, or else in a queue for all: whoever waits longest has the next that is free, which
        need not be the one that was started for it (`gateway.environments.pool`)."""
        if self._clock.now > self._first_death:
            self._expire()
        if self._idle:
            self._begin(going)
            return
        if len(self._waiting) >= self._starting:
            if self._taken < self.tier.concurrency:
                self._starting += 1
                self._start(going.invoke.placement, self._first_in_line)
            elif len(self._waiting) - self._starting >= self._room:
                self._fail(going, "throttled", THROTTLED_S[self.tier.kind])
                return
        self._waiting.append(going)

    def _first_in_line(self, environment: Environment, init_ms: float) -> None:
        self._starting -= 1
        if self._waiting:
            going = self._waiting.popleft()
            self._going[id(going.invoke)] = going
            self._first_run(going, environment, init_ms)
        else:
            self._release(environment)

    def _begin(self, going: _Going) -> None:
        """In an idle environment, or else in a new one; the tier has room for one more."""
        going.began = self._clock.now
        if self._clock.now > self._first_death:
            self._expire()
        environment = self._pick(going.invoke.placement.variant)
        self._going[id(going.invoke)] = going
        if environment is not None:
            self._taken += 1
            self._run(environment, going)
        elif self._may_start():
            self._start(going.invoke.placement, partial(self._first_run, going))
        else:
            del self._going[id(going.invoke)]
            self._fail(going, "throttled", THROTTLED_S[self.tier.kind])

    def _first_run(self, going: _Going, environment: Environment, init_ms: float) -> None:
        if self.tier.start_mode is not StartMode.ALWAYS:  # what always is there does not start for anybody
            going.cold, going.init_ms = True, init_ms
        self._run(environment, going)

    def _run(self, environment: Environment, going: _Going) -> None:
        invoke, now = going.invoke, self._clock.now
        self._emit(EnvironmentBusy(self.tier.name, environment.id, now))
        placement = invoke.placement
        rows = invoke.jobs[0].request.rows if len(invoke.jobs) == 1 else sum(j.request.rows for j in invoke.jobs)
        load_ms = self._load_ms(environment, placement)
        run_ms, billed_ms = self._times.run_ms(placement.id, rows)
        ends = now + run_ms / 1000 if load_ms is None else now + load_ms / 1000 + run_ms / 1000
        usd = self._meter_of(environment).add(billed_ms + (load_ms or 0.0), going.init_ms)
        loaded = load_ms is not None
        end = Ended(invoke, going.began, True, "", going.cold, loaded, run_ms, environment.id)
        self._clock.at(ends, END, partial(self._end, environment, going, end, usd))

    def _end(self, environment: Environment, going: _Going, end: Ended, usd: float) -> None:
        del self._going[id(going.invoke)]
        self._release(environment)
        if not going.cancelled:
            self._ended(end, usd)

    def _load_ms(self, environment: Environment, placement: Placement) -> float | None:
        """Make the variant resident; how long that takes, None where it was."""
        resident, variant = environment.resident, placement.variant
        held = resident.pop(variant, None)
        if held is not None:
            resident[variant] = held
            return None
        memory_mb = self._memory[variant]
        while resident and sum(resident.values()) + memory_mb > self._room_mb:
            del resident[next(iter(resident))]
        resident[variant] = memory_mb
        return self._times.load_ms(placement.id)

    # Life of environments

    def _start(self, placement: Placement, then: Callable[[Environment, float], None]) -> None:
        """A new environment, taken, for whatever comes after its start of so many milliseconds."""
        environment, init_ms = self._begun(placement), self._times.init_ms(placement.id)
        self._clock.at(self._clock.now + init_ms / 1000, START, partial(self._ready, environment, init_ms, then))

    def _begun(self, placement: Placement) -> Environment:
        """A new environment, taken and starting."""
        self._started += 1
        self._taken += 1
        name = f"{self.tier.name}-{self._started}"
        environment = self._all[name] = Environment(name, placement.variant)
        self._emit(EnvironmentStarting(self.tier.name, name, self._clock.now))
        return environment

    def _ready(self, environment: Environment, init_ms: float, then: Callable[[Environment, float], None]) -> None:
        environment.expected = ""
        environment.resident = {variant: self._memory[variant] for variant in self._snapshot}
        self._emit(EnvironmentReady(self.tier.name, environment.id, self._snapshot, self._clock.now))
        then(environment, init_ms)

    def _warm_next(self) -> None:
        """Begin with the next that is to be warm, unless warm-ups of another one are under way."""
        while self._to_warm and not self._warming:
            self._expire()
            self._have_warm(*self._to_warm.popleft())

    def _have_warm(self, placement: Placement, copies: int, for_s: float) -> None:
        """An environment that holds the variant and would idle out before then is used once more.

        By what a caller knows: the tier's idle timeout, and not how long this environment will really live.
        """
        variant, now = placement.variant, self._clock.now
        holding = sum(variant in e.resident or variant == e.expected for e in self._all.values())
        used_before = now - self.tier.idle_timeout_s + min(for_s, self.tier.idle_timeout_s / 2)
        stale = [e for e in self._idle if variant in e.resident and e.idle_since < used_before and self._idles_out(e)]
        for environment in stale[: max(0, copies - (holding - len(stale)))]:
            self._take(environment)
            self._warming += 1
            self._warm_up(placement, environment)
        for _ in range(copies - holding):
            if self._taken >= self.tier.concurrency:
                return
            found = next((e for e in self._idle if variant not in e.resident), None)
            if found is None and (len(self._all) >= self.tier.concurrency or not self._may_start()):
                return
            self._warming += 1
            if found is None:
                self._start(placement, partial(self._warm_up, placement))
            else:
                self._take(found)
                self._warm_up(placement, found)

    def _warm_up(self, placement: Placement, environment: Environment, init_ms: float | None = None) -> None:
        now = self._clock.now
        self._emit(EnvironmentBusy(self.tier.name, environment.id, now))
        held_ms = max(PING_MS, self._load_ms(environment, placement) or 0.0)
        self._meter_of(environment).add(held_ms, init_ms)
        self._clock.at(now + held_ms / 1000, END, partial(self._warmed, environment))

    def _warmed(self, environment: Environment) -> None:
        self._warming -= 1
        self._release(environment)
        self._warm_next()

    def _provided(self, asked_at: float, environment: Environment, init_ms: float) -> None:
        """A provisioned environment is there; it is paid for since it was asked for."""
        environment.provisioned_at = asked_at
        self._provisioned_meter.start(init_ms)
        self._release(environment)

    def _meter_of(self, environment: Environment) -> Meter:
        return self._meter if environment.provisioned_at is None else self._provisioned_meter

    def _pick(self, variant: str) -> Environment | None:
        """The most recently used idle environment that holds the variant, else the most recently used.

        Provisioned ones come first, whatever they hold: spill-over is what they have no room for.
        """
        idle = self._idle
        if not idle:
            return None
        if self._provisioned:
            kept = [e for e in idle if e.provisioned_at is not None]
            if kept:
                found = next((e for e in reversed(kept) if variant in e.resident), kept[-1])
                idle.remove(found)
                return self._leave(found)
        if variant in idle[-1].resident:
            return self._leave(idle.pop())
        for i in range(len(idle) - 2, -1, -1):
            if variant in idle[i].resident:
                return self._leave(idle.pop(i))
        return self._leave(idle.pop())

    def _leave(self, environment: Environment) -> Environment:
        self._idle_s += self._clock.now - environment.idle_since
        return environment

    def _take(self, environment: Environment) -> None:
        self._idle.remove(environment)
        self._leave(environment)
        self._taken += 1

    def _release(self, environment: Environment) -> None:
        """It is idle again, and runs for whoever waits longest."""
        now = self._clock.now
        self._taken -= 1
        environment.idle_since = now
        self._idle.append(environment)
        self._emit(EnvironmentReady(self.tier.name, environment.id, tuple(environment.resident), now))
        if environment.unwanted:
            self._drop(environment, "provisioned no more")
        elif environment.provisioned_at is None:
            environment.dies_at = now + self._lifetime(self._times.uniform())
            self._first_death = min(self._first_death, environment.dies_at)
        if self._waiting and self._taken < self.tier.concurrency:
            self._begin(self._waiting.popleft())

    def _expire(self) -> None:
        now = self._clock.now
        for environment in [e for e in self._idle if e.dies_at < now]:
            self._idle_s -= now - environment.dies_at
            self._drop(environment, "expired")
        self._first_death = min((e.dies_at for e in self._idle), default=math.inf)

    def _drop(self, environment: Environment, reason: str) -> None:
        """An idle environment goes."""
        now = self._clock.now
        self._idle.remove(environment)
        self._leave(environment)
        del self._all[environment.id]
        if environment.provisioned_at is not None:
            self._provisioned_meter.idle_s += max(now - environment.provisioned_at, LEAST_PROVISIONED_S)
        self._emit(EnvironmentGone(self.tier.name, environment.id, reason, now))

    def _may_start(self) -> bool:
        """Whether Lambda's scaling limit lets one more start now; it is then counted."""
        now = self._clock.now
        self._burst = min(float(BURST), self._burst + (now - self._burst_at) * BURST / BURST_S)
        self._burst_at = now
        if self._burst < 1.0 and self.tier.kind is TierKind.LAMBDA:
            return False
        self._burst -= 1.0
        return True


def _meters(tier: Tier) -> tuple[Meter, Meter]:
    """On demand and provisioned; a tier has the price of one, and its size that of the other."""
    if tier.start_mode is StartMode.PROVISIONED:
        return Meter(lambda_price(tier.memory_mb)), Meter(tier.price)
    return Meter(tier.price), Meter(lambda_price(tier.memory_mb, start_mode=StartMode.PROVISIONED))
