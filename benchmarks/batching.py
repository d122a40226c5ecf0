"""How many rows a run takes: ours against no batching, fixed sizes, Clipper's controllers and AIMD; it tunes none.

Requests of one row arrive at random (Poisson), each with 20 ms to its deadline, and a station on one core answers them
through the container's batcher, in this process. A rate holds where 99 of 100 requests are answered in time, in one of
two windows; refused, expired and failed ones are not. The highest that holds is found by bisection, anew in each round,
the policies in turns, one after another; a policy keeps what it learnt through a round. Every answer is compared with
what the model gives to its row alone. `best_static` is the best of all sizes, found first, and measured again with the
others.

`ceiling_rps` is the same loop's rate with an engine that does nothing: what requests cost in Python. `model_rps` is
what the model's runs alone would do, at the best size. Where that is more, the loop is measured (`bound_by`).

Re-convergence: at LOAD of a policy's own rate, every run is done twice, so that service time doubles, and after some
seconds once again. `reconverge_up_s` and `reconverge_down_s` are the seconds from each change to when requests are in
time again and latencies are what they settle to (`benchmarks.batching_rows.reconverged`); None: not within the phase.
A policy is only back where it then also holds BACK of its own rate, which one that remembers the worst may not. Fixed
sizes have nothing to re-converge.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from random import Random
from statistics import median

from benchmarks.batching_models import MLP, NO_OP, OF_DIGITS, Subject, subjects
from benchmarks.batching_real import CORES, Pace, play, steady
from benchmarks.batching_rows import (
    DETAILS,
    IN_TIME,
    NONE,
    Answered,
    Found,
    Limits,
    in_time,
    quantile,
    reconverged,
    rows_of,
)
from benchmarks.harness import Row, run
from benchmarks.search import Search
from scheduler.rules import STATIC
from scheduler.station import Station
from simulator.arrivals import poisson

SLO_S = 0.020

OURS = "modelless"
ADAPTIVE = (OURS, "clipper_v1", "clipper_v4", "aimd")
SIZES = (4, 8, 16, 32, 64)

IDLE = f"{STATIC}{SIZES[-1]}"
"""The policy that the ceiling is measured with: the fewest runs."""

IDLE_GUESS = 10_000.0
"""Requests a second where the search for the ceiling begins."""

COARSE = 1.4
"""Steps of the first search for each policy; it then halves the last one."""

STEP = 1.05
"""Of a round's searches, which begin a part of it higher in each: their median is finer than a step."""

LOAD = 0.3
"""Of a policy's own rate, for re-convergence: with twice the service time much less than half of it is left, as runs
also have to be smaller to be in time."""

BACK = 0.85
"""Of its own rate that a policy holds that is back."""

SLOWER = 2
"""Times that each run is done in the phase between the changes."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How often everything is measured, and for how many seconds."""

    models: tuple[str, ...]
    sizes: tuple[int, ...]
    finalists: int
    """Fixed sizes that are measured again with the others, the best ones of the first search."""
    rounds: int
    """At most; another one only begins within `rounds_s`."""
    rounds_s: float
    learn: float
    """Before a policy's first window."""
    warm: float
    """The beginning of a window, which does not count."""
    window: float
    """What counts of it."""
    trials: int
    """Of re-convergence, for each policy."""
    before: float
    """The first change."""
    changed: float
    """From one change to the next, and to the end."""


FULL = Lengths(
    models=(*OF_DIGITS, MLP, NO_OP),
    sizes=SIZES,
    finalists=2,
    rounds=5,
    rounds_s=120.0,
    learn=0.3,
    warm=0.12,
    window=0.4,
    trials=2,
    before=0.5,
    changed=2.25,
)
BRIEF = Lengths(
    models=("kernel_machine",),
    sizes=(16,),
    finalists=1,
    rounds=1,
    rounds_s=0.0,
    learn=0.2,
    warm=0.1,
    window=0.15,
    trials=1,
    before=0.25,
    changed=0.8,
)


@dataclass(slots=True)
class Player:
    """A station with one model under one rule; what it learns it keeps from window to window."""

    subject: Subject
    rule: str
    lengths: Lengths
    idle: bool = False
    """Whether nothing is run, and answered at once."""
    p99_s: float = inf
    """Of the last window that held."""
    windows: int = 0
    station: Station = field(init=False)

    def __post_init__(self) -> None:
        self.station = Station(CORES, batching=self.rule, gauss=partial(Random(0).gauss, 0.0, 1.0))
        self.station.offer(self.subject.ladder(), 0.0)
        self.station.resident(self.subject.name, self.subject.name, 1)

    def holds(self, rate: float) -> bool:
        """Whether IN_TIME of the requests of a window are answered in time at this rate (a second)."""
        self.windows += 1
        warm, stop = self.lengths.warm, self.lengths.warm + self.lengths.window
        latencies = self._play(rate, stop).between(warm, stop)
        held = in_time(latencies, SLO_S) >= IN_TIME
        if held:
            self.p99_s = quantile(latencies, IN_TIME)
        return held

    def sustains(self, rate: float) -> bool:
        """Whether one of two windows holds: a pause of the machine makes all of a window's work late."""
        return self.holds(rate) or self.holds(rate)

    def learn(self, rate: float) -> None:
        """See this rate for a while, before anything counts."""
        self._play(rate, self.lengths.learn)

    def changes(self, rate: float) -> tuple[float | None, float | None]:
        """Seconds to re-converge after the service time doubles and after it recovers, at LOAD of a rate it holds."""
        slow = self.lengths.before
        back, end = slow + self.lengths.changed, slow + 2 * self.lengths.changed
        answered = self._play(LOAD * rate, end, lambda at: SLOWER if slow <= at < back else 1)
        up = reconverged(answered, SLO_S, since=slow, until=back)
        down = reconverged(answered, SLO_S, since=back, until=end)
        return up, down if self.sustains(BACK * rate) else None

    def _play(self, rate: float, seconds: float, pace: Pace = steady) -> Answered:
        times = poisson(rate, seconds, seed=self.windows)
        return play(self.station, self.subject, times, SLO_S, pace=pace, idle=self.idle)


def rows(quick: bool) -> Sequence[Row]:
    """The rows of each model, one after another."""
    lengths = BRIEF if quick else FULL
    with subjects(lengths.models) as made:
        ceiling = _ceiling(made[0], lengths)
        _say(f"the loop alone: {ceiling:.0f} a second")
        return [row for subject in made for row in measure(subject, lengths, ceiling)]


def _ceiling(subject: Subject, lengths: Lengths) -> float:
    """What the loop does with an engine that does nothing: the median of searches, one for each round."""
    guess = _first(Player(subject, IDLE, lengths, idle=True), IDLE_GUESS) or IDLE_GUESS
    searches = [Search(guess * _offset(turn, lengths), STEP) for turn in range(lengths.rounds)]
    for search in searches:
        _ask(search, Player(subject, IDLE, lengths, idle=True))
    return median(search.low for search in searches)


def measure(subject: Subject, lengths: Lengths, ceiling: float) -> list[Row]:
    """The rows of one model."""
    limits = Limits(ceiling, subject.most_rps())
    around: dict[str, float] = {}
    guess = min(limits) / 4
    for rule in (NONE, *(f"{STATIC}{size}" for size in lengths.sizes), *ADAPTIVE):
        guess = around[rule] = _first(Player(subject, rule, lengths), guess) or guess
    static_rps = {rule: rps for rule, rps in around.items() if rule not in ADAPTIVE}
    finalists = sorted(static_rps, key=lambda rule: -static_rps[rule])[: lengths.finalists]
    found = {rule: Found(rule) for rule in dict.fromkeys((*ADAPTIVE, NONE, *finalists))}
    began = time.monotonic()
    for turn in range(lengths.rounds):
        if turn and time.monotonic() > began + lengths.rounds_s:
            break
        _round(subject, lengths, found, {rule: around[rule] * _offset(turn, lengths) for rule in found})
        _say(f"{subject.name}: round {turn + 1} of {lengths.rounds}")
    for turn in range(lengths.trials):
        _trial(subject, lengths, found, turn)
        _say(f"{subject.name}: changes {turn + 1} of {lengths.trials}")
    return rows_of(subject.name, found, static_rps, limits)


def _first(player: Player, guess: float) -> float:
    """About the highest rate that a policy holds; 0 where it holds none."""
    player.learn(guess)
    search = Search(guess, COARSE)
    _ask(search, player)
    if search.low:
        search.told(player.sustains(search.rate))
    return search.low


def _offset(turn: int, lengths: Lengths) -> float:
    """Where a round's searches begin, of where they would."""
    return float(STEP ** (turn / lengths.rounds))


def _ask(search: Search, player: Player) -> None:
    while not search.found(search.step):
        search.told(player.sustains(search.rate))


def _round(subject: Subject, lengths: Lengths, found: Mapping[str, Found], around: Mapping[str, float]) -> None:
    """A search for each policy, each from anew, their windows in turns that change direction."""
    players = {rule: Player(subject, rule, lengths) for rule in found}
    searches = {rule: Search(around[rule], STEP) for rule in found}
    for rule, player in players.items():
        player.learn(around[rule])
    left = list(found)
    while left:
        for rule in left:
            searches[rule].told(players[rule].sustains(searches[rule].rate))
        left = [rule for rule in reversed(left) if not searches[rule].found(STEP)]
    for rule, of in found.items():
        of.rps.append(searches[rule].low)
        of.p99_s.append(players[rule].p99_s)
        of.windows += players[rule].windows


def _trial(subject: Subject, lengths: Lengths, found: Mapping[str, Found], turn: int) -> None:
    """Each policy through both changes, from anew."""
    rules = [rule for rule in ADAPTIVE if found[rule].rate]
    for rule in rules if turn % 2 == 0 else reversed(rules):
        player, of = Player(subject, rule, lengths), found[rule]
        player.learn(of.rate)
        up, down = player.changes(of.rate)
        of.up_s.append(up)
        of.down_s.append(down)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(run("batching", rows, details=DETAILS))
