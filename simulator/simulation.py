"""Runs a policy over arrivals on a virtual clock and tells what came of it; it never decides anything itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from registry.model import SHARED, Slo, Tier
from scheduler.actions import Provision, Shrink, Unload, Warm
from scheduler.fleet import Fleet
from scheduler.requests import Request
from scheduler.warming import where_warm
from simulator.arrivals import Floats
from simulator.bill import Dollars
from simulator.clock import ARRIVAL, TICK, Clock
from simulator.container import Container
from simulator.environments import Environments
from simulator.hardware import Hardware
from simulator.host import Host, Stage, Use
from simulator.outcome import NOBODY, Flags, Outcome
from simulator.policy import Action, Cancel, Ended, Invoke, Job, Policy, Reject
from simulator.times import Times

TOLD = 1000
"""Requests between two reports of progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Requests for one task that ask for the same."""

    task: str
    slo: Slo
    """Merged: the task's default with a caller's hints laid over it."""
    times: Floats
    """Arrivals (s), ascending."""
    rows: int = 1


def simulate(
    catalogue: Catalogue,
    streams: Sequence[Stream],
    policy: Policy,
    *,
    seconds: float,
    seed: int,
    hardware: Hardware | None = None,
    progress: Callable[[float], None] | None = None,
) -> Outcome:
    """What a policy makes of the arrivals before `seconds`; everything that it began is carried to its end.

    Same arguments, same bytes. `progress` is told the share of requests that have come. What is kept idle is paid for
    until `seconds`. Raises NotFound for a stream of an unknown task, and whatever the policy raises.
    """
    for stream in streams:
        catalogue.task(stream.task)
    simulation = _Simulation(
        catalogue, tuple(streams), policy, seconds=seconds, hardware=hardware or Hardware(), progress=progress
    )
    return simulation.run(seed)


class _Simulation:
    def __init__(
        self,
        catalogue: Catalogue,
        streams: tuple[Stream, ...],
        policy: Policy,
        *,
        seconds: float,
        hardware: Hardware,
        progress: Callable[[float], None] | None,
    ) -> None:
        self._catalogue, self._streams, self._policy = catalogue, streams, policy
        self._seconds, self._hardware, self._progress = seconds, hardware, progress
        self._clock = Clock()
        self._hosts: dict[str, Host] = {}
        self._requests = [Request(s.task, s.slo, s.rows) for s in streams]
        self._numbers = {id_: i for i, id_ in enumerate(catalogue.variants)}
        self._arrived, self._stream = merged([s.times for s in streams], seconds)
        self._times, self._of = self._arrived.tolist(), self._stream.tolist()
        count = len(self._times)
        self._latency_ms = [math.inf] * count
        self._variant = [NOBODY] * count
        self._cold, self._loaded, self._rejected = bytearray(count), bytearray(count), bytearray(count)
        self._usd = [0.0] * count
        self._next = 0
        self._wake_at = math.inf

    def run(self, seed: int) -> Outcome:
        """Everything, to its end."""
        times = Times(self._catalogue, np.random.default_rng(seed))
        stage = Stage(self._catalogue, self._clock, times, self._hardware, self._policy.happened, self._ended)
        self._hosts.update((tier.name, host_of(tier, stage)) for tier in self._catalogue.tiers.values())
        for host in self._hosts.values():
            host.open()
        if self._times:
            self._clock.at(self._times[0], ARRIVAL, self._arrive)
        if math.isfinite(self._policy.period_s):
            self._clock.at(0.0, TICK, self._tick)
        self._clock.run()
        return self._outcome({name: host.close(self._seconds) for name, host in self._hosts.items()})

    # What happens

    def _arrive(self) -> None:
        number = self._next
        job = Job(number, self._requests[self._of[number]], self._clock.now)
        self._next = number + 1
        if self._next < len(self._times):
            self._clock.at(self._times[self._next], ARRIVAL, self._arrive)
        if self._progress is not None and number % TOLD == 0:
            self._progress(number / len(self._times))
        self._perform(self._policy.arrive(job, self._clock.now))

    def _ended(self, end: Ended, usd: float) -> None:
        if end.ok:
            self._answer(end, usd)
        self._perform(self._policy.ended(end, self._clock.now))

    def _answer(self, end: Ended, usd: float) -> None:
        now, jobs = self._clock.now, end.invoke.jobs
        variant = self._numbers[end.variant or end.invoke.placement.variant]
        rows = jobs[0].request.rows if len(jobs) == 1 else sum(job.request.rows for job in jobs)
        for job in jobs:
            number = job.number
            self._latency_ms[number] = (now - job.arrived) * 1000 + self._hardware.overhead_ms
            self._variant[number] = variant
            self._cold[number], self._loaded[number] = end.cold, end.loaded
            self._usd[number] += usd * job.request.rows / rows

    def _tick(self) -> None:
        now = self._clock.now
        if now + self._policy.period_s < self._seconds:
            self._clock.at(now + self._policy.period_s, TICK, self._tick)
        self._perform(self._policy.tick(now))

    def _wake(self, asked_for: float) -> None:
        if asked_for == self._wake_at:  # else it was asked for another time meanwhile
            self._wake_at = math.inf
            self._perform(self._policy.wake(self._clock.now))

    # What is done

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if type(action) is Invoke:
                self._hosts[action.placement.tier].invoke(action)
            else:
                self._perform_other(action)
        wake_at = self._policy.wake_at()
        if wake_at < self._wake_at:
            self._wake_at = wake_at = max(wake_at, self._clock.now)
            self._clock.at(wake_at, TICK, partial(self._wake, wake_at))

    def _perform_other(self, action: Action) -> None:
        match action:
            case Reject(job):
                self._rejected[job.number] = True
            case Cancel(invoke):
                self._hosts[invoke.placement.tier].cancel(invoke)
            case Warm(placement, _, copies, for_s):
                self._hosts[placement.tier].warm(placement, copies, for_s)
            case Unload(placement):
                self._hosts[placement.tier].unload(placement)
            case Shrink(tier, copies):
                self._hosts[tier].shrink(copies)
            case Provision(tier, copies):
                self._hosts[tier].provision(copies)
            case Invoke(placement):
                self._hosts[placement.tier].invoke(action)

    def _outcome(self, used: Mapping[str, Use]) -> Outcome:
        variants = np.array(self._variant, dtype=np.int32)
        accuracy = np.array([*(v.accuracy.value for v in self._catalogue.variants.values()), 0.0])
        cold, loaded = _flags(self._cold), _flags(self._loaded)
        nothing = Fleet.empty(self._catalogue)
        best = np.array([self._best(request, nothing) for request in self._requests], dtype=np.int32)
        other = variants != best.take(self._stream) if len(best) else np.zeros(0, np.bool_)
        return Outcome(
            slos=tuple(s.slo for s in self._streams),
            variants=tuple(self._catalogue.variants),
            stream=self._stream,
            arrived=self._arrived,
            latency_ms=np.array(self._latency_ms, dtype=np.float64),
            accuracy=accuracy[variants],  # NOBODY is the last
            variant=variants,
            cold=cold,
            loaded=loaded,
            substitute=(variants != NOBODY) & ~cold & ~loaded & other,
            rejected=_flags(self._rejected),
            usd=np.array(self._usd, dtype=np.float64),
            dollars=sum((use.dollars for use in used.values()), Dollars()),
            by_tier={name: use.dollars for name, use in used.items()},
            idle_hours=sum(use.idle_s for use in used.values()) / 3600,
            started=sum(use.started for use in used.values()),
        )

    def _best(self, request: Request, nothing: Fleet) -> int:
        """The variant that would be chosen, were everything resident and as profiled."""
        ranked = where_warm(request, self._catalogue, nothing, 0.0).ranked
        return self._numbers[ranked[0].placement.variant] if ranked else NOBODY


def host_of(tier: Tier, stage: Stage) -> Host:
    """What carries actions out on a tier."""
    return Container(tier, stage) if tier.kind in SHARED else Environments(tier, stage)


def merged(times: Sequence[Floats], seconds: float) -> tuple[Floats, NDArray[np.int32]]:
    """All arrivals before `seconds` in order, and the stream of each; of equal times the first stream's is first.

    Raises ValueError for times that do not ascend from 0 on.
    """
    for number, of_stream in enumerate(times):
        if len(of_stream) and not (of_stream[0] >= 0.0 and (np.diff(of_stream) >= 0.0).all()):
            raise ValueError(f"the times of stream {number} do not ascend from 0 on")
    every = np.concatenate([*times, np.empty(0)]).astype(np.float64)
    stream = np.repeat(np.arange(len(times), dtype=np.int32), [len(t) for t in times])
    order = np.argsort(every, kind="stable")
    order = order[every[order] < seconds]
    return every[order], stream[order]


def _flags(marks: bytearray) -> Flags:
    return np.frombuffer(bytes(marks), dtype=np.bool_)
