"""A container endpoint: copies that batch and switch by themselves, paid for whether used or not, minutes from zero.

Each copy's decisions are `scheduler.station.Station`'s, or those of a decider that a baseline puts in its place. While
no copy is ready, calls fail; a copy that is wanted no more is paid for until the scale-in takes effect. The fleet is
told of one environment, as it is of a real endpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from registry.model import Placement, Profile, Tier, TierKind
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting
from scheduler.ladders import ladder_of
from scheduler.patience import deadline_of, floor_of
from scheduler.station import Station
from scheduler.work import Action, Expire, Ladder, Load, Refuse, Run, Work
from simulator.bill import Dollars, Meter
from simulator.clock import END, START, TICK
from simulator.hardware import Decider
from simulator.host import Stage, Use, failed
from simulator.policy import Ended, Invoke

START_S = 240.0
"""From asking for a copy until it answers: "several minutes", and calls fail meanwhile (Lambda managed instances,
scaling from zero; an inference component of SageMaker takes as long)."""

SCALE_IN_S = 300.0
"""From wanting a copy no more until it is paid for no more: the cooldown of a target-tracking policy (Application Auto
Scaling's default for SageMaker endpoints)."""

AGAIN_S = 1e-6
"""How far the clock moves on when a decider wants to be asked again at once."""


@dataclass(slots=True, eq=False)
class Copy:
    """One container."""

    decider: Decider
    asked_at: float
    """Since when (s) it is paid for."""
    ready: bool = False
    going_until: float = math.inf
    """It is wanted no more, and serves until this time (s)."""
    resident: dict[Placement, float] = field(default_factory=dict)
    """MB of what is loaded, the least recently used first."""
    works: dict[Work, Invoke] = field(default_factory=dict)
    """What waits or runs."""
    loading: set[Placement] = field(default_factory=set)
    wakes_at: float = math.inf


class Container:
    """The Host of a `container`, `gpu` or `inline` tier."""

    def __init__(self, tier: Tier, stage: Stage) -> None:
        self.tier = tier
        self._stage, self._clock, self._times = stage, stage.clock, stage.times
        catalogue = stage.catalogue
        self._placements = [
            p for p in catalogue.placements.values() if p.tier == tier.name and p.id in catalogue.profiles
        ]
        self._by_key: dict[tuple[str, str], list[Placement]] = {}
        for placement in self._placements:
            self._by_key.setdefault((placement.task, catalogue.variants[placement.variant].name), []).append(placement)
        self._ladders = [ladder_of(catalogue, task, tier.name) for task in {p.task: 0 for p in self._placements}]
        self._cores = tier.concurrency * max((p.threads for p in self._placements), default=1)
        hardware = stage.hardware
        always = tier.kind is TierKind.INLINE
        self._start_s = 0.0 if always else hardware.start_s.get(tier.name, START_S)
        self._scale_in_s = 0.0 if always else hardware.scale_in_s.get(tier.name, SCALE_IN_S)
        self._copies: list[Copy] = []
        self._meter = Meter(tier.price)
        self._kept_s = self._busy_s = 0.0
        self._started = 0
        self._under_way = self._told = 0
        self._here = False
        self._cancelled: dict[int, Invoke] = {}
        """By id, each kept until its end so that no other invocation can have its id."""

    def open(self) -> None:
        """See Host. What is there from the start is ready at once."""
        for _ in range(self._stage.hardware.provisioned.get(self.tier.name, 1)):
            self._ready(self._new())

    def invoke(self, invoke: Invoke) -> None:
        """See Host."""
        ready = [copy for copy in self._copies if copy.ready]
        if not ready or invoke.placement.id not in self._stage.catalogue.profiles:
            self._fail(invoke, "not ready", self._ready_in())
            return
        copy = min(ready, key=lambda c: len(c.works))
        now, slo = self._clock.now, invoke.jobs[0].request.slo
        deadline = min(deadline_of(j.request.slo, j.arrived, self.tier.timeout_s) for j in invoke.jobs)
        floor = floor_of(slo)
        variant = self._stage.catalogue.variants[invoke.placement.variant].name if floor is None else None
        rows = sum(job.request.rows for job in invoke.jobs)
        work = Work(invoke.placement.task, rows, now, deadline, floor or 0.0, variant)
        copy.works[work] = invoke
        self._begin()
        refusal = copy.decider.arrive(work, now)
        if refusal is not None:
            self._turn_away(copy, refusal)
        self._act(copy)

    def cancel(self, invoke: Invoke) -> None:
        """See Host. What a copy has taken in, it does, and nobody hears of it."""
        self._cancelled[id(invoke)] = invoke

    def warm(self, placement: Placement, copies: int, for_s: float) -> None:
        """See Host. A copy stays until it is wanted no more."""
        holding = sum(placement in copy.resident for copy in self._copies)
        lacking = [c for c in self._copies if c.ready and placement not in c.resident and placement not in c.loading]
        for copy in lacking[: max(0, copies - holding)]:
            self._load(copy, placement)

    def unload(self, placement: Placement) -> None:
        """See Host."""
        for copy in self._copies:
            if placement in copy.resident and not copy.works:
                del copy.resident[placement]
                self._tell_decider(copy, placement, held=False)
        self._report()

    def shrink(self, copies: int) -> None:
        """See Host. Copies are provisioned, and nothing else ends them."""

    def provision(self, copies: int) -> None:
        """See Host. A copy that is not gone yet is taken back before another one starts."""
        wanted = [copy for copy in self._copies if copy.going_until == math.inf]
        for copy in [c for c in self._copies if c.going_until < math.inf][: max(0, copies - len(wanted))]:
            copy.going_until = math.inf
            wanted.append(copy)
        for _ in range(copies - len(wanted)):
            copy = self._new()
            if not self._here and len(self._copies) == 1:
                self._stage.emit(EnvironmentStarting(self.tier.name, self.tier.name, self._clock.now))
            self._clock.at(self._clock.now + self._start_s, START, partial(self._ready, copy))
        for copy in sorted(wanted, key=lambda c: (c.ready, -len(c.works)))[: max(0, len(wanted) - copies)]:
            copy.going_until = self._clock.now + self._scale_in_s
            self._clock.at(copy.going_until, START, partial(self._gone, copy, copy.going_until))

    def close(self, seconds: float) -> Use:
        """See Host."""
        for copy in self._copies:
            self._kept_s += max(0.0, seconds - copy.asked_at)
        self._meter.idle_s = self._kept_s
        found = self._meter.dollars()
        # Where copies are paid for, a run's price is its share of theirs.
        dollars = Dollars(idle=found.idle) if self.tier.price.usd_per_idle_s else found
        return Use(dollars, max(0.0, self._kept_s - self._busy_s / self._cores), self._started)

    # Requests

    def _fail(self, invoke: Invoke, reason: str, retry_after_s: float) -> None:
        end = failed(self._stage, invoke, reason, retry_after_s)
        self._clock.at(self._clock.now, END, partial(self._tell, end, 0.0))

    def _turn_away(self, copy: Copy, action: Refuse | Expire) -> None:
        invoke = copy.works.pop(action.work)
        self._end()
        if isinstance(action, Expire):
            self._fail(invoke, "late", 0.0)
        else:
            self._fail(invoke, "throttled", 0.0 if math.isinf(action.retry_after_s) else action.retry_after_s)

    def _act(self, copy: Copy) -> None:
        """Carry out what a copy decides now, and ask again when it says."""
        now = self._clock.now
        for action in copy.decider.act(now):
            self._carry_out(copy, action)
        asked = copy.decider.wake_at(now)
        if asked is not None and max(asked, now + AGAIN_S) < copy.wakes_at:
            copy.wakes_at = max(asked, now + AGAIN_S)
            self._clock.at(copy.wakes_at, TICK, partial(self._wake, copy, copy.wakes_at))

    def _wake(self, copy: Copy, asked_for: float) -> None:
        if asked_for == copy.wakes_at:
            copy.wakes_at = math.inf
            self._act(copy)

    def _carry_out(self, copy: Copy, action: Action) -> None:
        match action:
            case Run():
                self._run(copy, action)
            case Load(task, variant, threads):
                self._load(copy, self._placement(task, variant, threads))
            case Expire() | Refuse():
                self._turn_away(copy, action)

    def _run(self, copy: Copy, run: Run) -> None:
        now, placement = self._clock.now, self._placement(run.task, run.variant, run.threads)
        loaded = placement not in copy.resident
        load_ms = self._times.load_ms(placement.id) if loaded else 0.0
        run_ms, billed_ms = self._times.run_ms(placement.id, run.rows)
        self._use(copy, placement)
        usd = self._meter.add(billed_ms + load_ms)
        self._busy_s += run.threads * (run_ms + load_ms) / 1000
        ended = partial(self._finish, copy, run, (placement, run_ms, loaded, now, usd))
        self._clock.at(now + (load_ms + run_ms) / 1000, END, ended)

    def _finish(self, copy: Copy, run: Run, how: tuple[Placement, float, bool, float, float]) -> None:
        placement, run_ms, loaded, began, usd = how
        now = self._clock.now
        copy.decider.finished(run, run_ms / 1000, now)
        invokes = [copy.works.pop(work) for work in run.works]
        for _ in invokes:
            self._end()
        self._act(copy)
        for work, invoke in zip(run.works, invokes, strict=True):
            variant = placement.variant
            end = Ended(invoke, began, True, "", False, loaded, run_ms, self.tier.name, variant=variant)
            self._tell(end, usd * work.rows / run.rows)

    def _tell(self, end: Ended, usd: float) -> None:
        if self._cancelled.pop(id(end.invoke), None) is None:
            self._stage.ended(end, usd)

    # Residency

    def _placement(self, task: str, variant: str, threads: int) -> Placement:
        """What was measured with so many threads, or else with the next fewer or the fewest."""
        known = sorted(self._by_key[task, variant], key=lambda p: p.threads)
        return next((p for p in reversed(known) if p.threads <= threads), known[0])

    def _profile(self, placement: Placement) -> Profile:
        return self._stage.catalogue.profiles[placement.id]

    def _load(self, copy: Copy, placement: Placement) -> None:
        if placement in copy.resident or placement in copy.loading:
            return
        copy.loading.add(placement)
        took_s = self._times.load_ms(placement.id) / 1000
        self._clock.at(self._clock.now + took_s, END, partial(self._loaded, copy, placement))

    def _loaded(self, copy: Copy, placement: Placement) -> None:
        copy.loading.discard(placement)
        self._use(copy, placement)
        self._report()
        self._act(copy)

    def _use(self, copy: Copy, placement: Placement) -> None:
        """Make it resident, and the most recently used; what no longer fits goes."""
        resident = copy.resident
        held = resident.pop(placement, None)
        if held is None:
            held = self._profile(placement).memory_mb
            while resident and sum(resident.values()) + held > self.tier.memory_mb:
                gone = next(iter(resident))
                del resident[gone]
                self._tell_decider(copy, gone, held=False)
            self._tell_decider(copy, placement, held=True)
        resident[placement] = held

    def _tell_decider(self, copy: Copy, placement: Placement, *, held: bool) -> None:
        name = self._stage.catalogue.variants[placement.variant].name
        copy.decider.resident(placement.task, name, placement.threads, held)

    # Copies

    def _new(self) -> Copy:
        self._started += 1
        make = self._stage.hardware.deciders.get(self.tier.name, station_of)
        copy = Copy(make(self._cores, self._ladders), self._clock.now)
        self._copies.append(copy)
        return copy

    def _ready(self, copy: Copy) -> None:
        if copy in self._copies:
            copy.ready, self._here = True, True
            self._report()

    def _gone(self, copy: Copy, at: float) -> None:
        """A copy is paid for no more, unless it was taken back; it takes nothing more, and ends what it has."""
        if copy.going_until != at or copy not in self._copies:
            return
        self._copies.remove(copy)
        self._kept_s += at - copy.asked_at
        if self._here and not any(c.ready for c in self._copies):
            self._here, self._told = False, 0
            self._stage.emit(EnvironmentGone(self.tier.name, self.tier.name, "scaled to zero", self._clock.now))

    def _ready_in(self) -> float:
        """Seconds until the first copy is ready, or would be if it was asked for now."""
        now = self._clock.now
        starting = [copy.asked_at + self._start_s - now for copy in self._copies if not copy.ready]
        return max(AGAIN_S, min(starting, default=self._start_s))

    # What the fleet is told: one environment, of which `concurrency` runs are told and the rest wait

    def _begin(self) -> None:
        self._under_way += 1
        self._tell_next()

    def _end(self) -> None:
        self._under_way -= 1
        if self._told:  # else it was of an endpoint that has gone
            self._told -= 1
            self._emit_ready()
            self._tell_next()

    def _tell_next(self) -> None:
        if self._here and self._told < min(self._under_way, self.tier.concurrency):
            self._told += 1
            self._stage.emit(EnvironmentBusy(self.tier.name, self.tier.name, self._clock.now))

    def _report(self) -> None:
        # While runs are under way, the end of one will tell: a report counts as the end of a run.
        if self._here and not self._told:
            self._emit_ready()

    def _emit_ready(self) -> None:
        held = [{p.variant for p in copy.resident} for copy in self._copies if copy.ready]
        everywhere = tuple(sorted(set.intersection(*held))) if held else ()
        self._stage.emit(EnvironmentReady(self.tier.name, self.tier.name, everywhere, self._clock.now))


def station_of(cores: int, ladders: Sequence[Ladder]) -> Decider:
    """The platform's own: what decides within a real container."""
    station = Station(cores)
    for ladder in ladders:
        station.offer(ladder, 0.0)
    return station
