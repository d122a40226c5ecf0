"""What a station knows of one task: what waits, how fast works come, how long runs take, what could run; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from scheduler.admission import Pace
from scheduler.arrivals import Arrivals
from scheduler.batching import Service
from scheduler.forecast import Forecast
from scheduler.purse import Purse
from scheduler.queue import Queue
from scheduler.rules import Rule
from scheduler.switching import Option, Table, train
from scheduler.work import Ladder, Run, Rung, Work, answers

LOOK = 256
"""Works from the front of a queue that a choice looks at: four of the usual largest batches."""

MANY_THREADS_FROM_S = 0.5e-3
"""Runs on several threads that were not measured are tried from here on: waking threads takes some 50 µs of a run."""

RETRAIN_S = 0.05
"""How long a table stands, as what is known of runs changes with each; training takes some 0.1 ms."""

SHORTER, LONGER = 0.1, 0.001
"""The weights of a new work's patience in the usual one: near the least of those that differ, as runs must suit it."""

SAME = 1e-6
"""Seconds by which patience differs that is the same."""

LATE = 0.003
"""The share of accepted works that may be late: less than a 99th percentile allows, as late ones come in bunches."""

STEP, MOST = 0.02, 0.5
"""What a run whose works are all late adds to the margin, and the most that there is."""

PAUSE = 0.1
"""The share of the usual patience by which a run is longer than expected, and more than twice as long, from which on it
is a pause of the machine: no margin makes up for that, and it says nothing of what was foretold."""

ANOTHER = 1.1
"""How many times the usual patience of before is another one, for what admission goes by."""

ALIKE = 0.1
"""The weight of the newest run in how much of what waits can share one."""

HARDLY = 0.05
"""The share of a work's runs that must be done in its time, were it alone, for another try to be of use."""

FADES = 10
"""Times the usual patience after which a margin begins to fade when no work was judged: a queue is gone by then."""

DOUBT_S = 1.0
"""Longest that what is believed of a task's runs keeps everyone away before it is tried again; else it is as long as a
margin takes to fade."""

Key = tuple[str, int]
"""Variant and threads."""


class Outlook(NamedTuple):
    """What admission goes by until a run begins or ends, or what is offered, loaded or wanted changes."""

    of: int
    """The number of the station's state that this is of."""
    free_at: float
    """When (s) the first core is free."""
    paces: list[Pace]
    """Of what may answer anyone, the least accurate variant first."""
    sure: int
    """With fewer rows waiting, all of them ahead of it, a work is in time for sure that has `sure_s` left."""
    sure_s: float
    patience_s: float
    """The usual one that this is of."""


@dataclass(slots=True)
class Served:
    """One task on a station."""

    ladder: Ladder
    threads: tuple[int, ...]
    """Numbers of threads that runs may have."""
    make_rule: Callable[[Service], Rule]
    queue: Queue = field(default_factory=Queue)
    arrivals: Arrivals = field(default_factory=Arrivals)
    forecast: Forecast = field(default_factory=Forecast)
    services: dict[Key, Service] = field(default_factory=dict)
    held: set[Key] = field(default_factory=set)
    """What is loaded."""
    lost: dict[Key, float] = field(default_factory=dict)
    """Right answers that were lost because this was not loaded."""
    asked: dict[Key, int] = field(default_factory=dict)
    """How often this was asked to be loaded, and did not come."""
    patience_s: float = inf
    """From arrival to deadline, as it is usual; infinite while works have none."""
    unjudged_until: float = -inf
    """What came by then (s) says nothing of predictions: it was let in by a guess, or the machine paused since."""
    ran_at: float = -inf
    """When the last run (s) ended."""
    purse: Purse = field(default_factory=Purse)
    alike: float = 1.0
    """The share of the works that wait that can share a run with the first of them."""
    least_s: float = 0.0
    """Seconds within which no run is believed to end: half of the quickest median."""
    spent: float = 0.0
    """Core-seconds over the ladder's weight."""
    wants: int = 0
    """Its runs, and one more while anything waits: it has a share of the cores unless there are none."""
    holds_until: float = -inf
    """No run before (s): one more work is waited for."""
    held_back: bool = False
    """Whether the front has been held back once."""
    _rules: dict[Key, Rule] = field(default_factory=dict)
    outlook: Outlook | None = None
    _profiles: dict[Key, Service] = field(default_factory=dict)
    """What is known of runs before any: on one thread, and on several that were profiled."""
    _least_s: float = 0.0
    """The same, whatever is doubted."""
    _faded_at: float = -inf
    _margin: float = 0.0
    _judged_at: float = 0.0
    _given_up: int = 0
    """Works that were, since the last run that was judged."""
    _table: Table | None = None
    _trained: tuple[float, object] = (-inf, None)
    """Until when (s) the table stands, and what it was trained from."""

    def offer(self, ladder: Ladder) -> None:
        """Serve these variants from now on; what was learnt of those that stay is kept."""
        self.ladder = ladder
        for rung in ladder.rungs:
            for threads in {*rung.service, *self.threads}:
                key = rung.variant, threads
                measured = rung.service.get(threads, ())
                if key not in self.services or (measured and not self.services[key].known):
                    self.services[key] = Service(measured)
                    self._rules.pop(key, None)
        self._profiles = {
            (rung.variant, threads): Service(rung.service.get(threads, ()))
            for rung in ladder.rungs
            for threads in self.threads
            if threads == 1 or threads in rung.service
        }
        kept = {rung.variant for rung in ladder.rungs}
        for counts in (self.lost, self.asked):
            for key in [key for key in counts if key[0] not in kept]:
                del counts[key]
        self.services = {key: service for key, service in self.services.items() if key[0] in kept}
        self.held = {key for key in self.held if key[0] in kept}
        self._rules = {key: rule for key, rule in self._rules.items() if key[0] in kept}
        self._table = None
        self._time()

    def note(self, work: Work, now: float) -> None:
        """A work came, whatever becomes of it."""
        self.arrivals.note(now, work.rows)
        if len(self.ladder.rungs) > 1:
            self.forecast.note(now, work.rows)
        patience, usual = work.deadline - work.arrived, self.patience_s
        if -SAME < patience - usual < SAME:
            return
        if 2 * self._least_s < patience < inf:  # what nobody could do sets no pace
            usual = patience if usual == inf else usual
            self.patience_s = usual * (patience / usual) ** (SHORTER if patience < usual else LONGER)
            if self.outlook is not None and not 1 / ANOTHER < self.patience_s / self.outlook.patience_s < ANOTHER:
                self.outlook = None

    def judge(self, works: Sequence[Work], took_s: float, now: float) -> None:
        """A run ended: move the margin so that in the long run the share LATE of what is accepted is late.

        Quantile tracking (Gibbs & Candès 2021), as `scheduler.coverage` does it for estimates, run by run, as the works
        of one share its fate. What was accepted by a guess says nothing of predictions, nor does a run that alone takes
        longer than a work has.
        """
        first, last = works[0], works[-1]
        earliest = first.deadline if first.priority == last.priority else -inf
        if earliest >= now and not self._given_up and first.arrived > self.unjudged_until:
            share = 0.0
            if not self._margin or earliest == inf:
                return
        else:
            judged = [work for work in works if work.deadline < inf and work.arrived > self.unjudged_until]
            late = self._given_up + sum(work.arrived + took_s <= work.deadline < now for work in judged)
            share = late / max(1, self._given_up + len(judged))
            self._given_up = 0
            if not judged and not late:
                return
        self._margin, self._judged_at = min(max(0.0, self.margin(now) + STEP * (share - LATE)), MOST), now

    def give_up(self, work: Work) -> None:
        """A work that was accepted cannot be done any more."""
        self._given_up += work.arrived > self.unjudged_until

    def paused(self, longer_s: float, expected_s: float, now: float) -> None:
        """A run took so much longer than expected; if that was a pause, what was accepted before says nothing."""
        if longer_s > expected_s and longer_s > PAUSE * self.patience_s:
            self.unjudged_until, self._given_up = now, 0

    def margin(self, now: float) -> float:
        """The share of its time that a work must have left over to be accepted.

        It fades when none is for long, as nothing would show any more that it is too large.
        """
        if not self._margin:
            return 0.0
        silent_s = now - self._judged_at
        return self._margin * min(1.0, FADES * self.patience_s / silent_s) if silent_s > 0 else self._margin

    def spare(self, now: float) -> float:
        """The share of the cores' time that is given away, as works turn out to need time left over."""
        return 1.0 - self.margin(now)

    def front(self) -> list[Work]:
        """The works that can share a run with the most urgent one, it first."""
        look = self.queue.first(LOOK)
        form, variant = look[0].form, look[0].variant
        front = [work for work in look if work.form == form and work.variant == variant]
        if len(look) > 1:
            self.alike += ALIKE * (len(front) / len(look) - self.alike)
        return front

    def options(self, first: Work, *, trying: bool = True) -> list[Option]:
        """Every way to answer a work; those on several threads that were never tried only if `trying`.

        What they bring is tried on one row, so not while others wait.
        """
        return [
            Option(rung, threads, self.services[rung.variant, threads], (rung.variant, threads) in self.held)
            for rung in self.ladder.rungs
            if answers(rung, first)
            for threads in self.threads
            if threads == 1 or self._worth_threads(rung.variant, threads, trying)
        ]

    def rule(self, key: Key) -> Rule:
        """The rule for how many rows a run of an option has."""
        rule = self._rules.get(key)
        if rule is None:
            rule = self._rules[key] = self.make_rule(self.services[key])
        return rule

    def table(self, options: Sequence[Option], cores: float, now: float) -> Table:
        """What is best at which load, trained again when what it was trained from may have changed."""
        basis = (cores, tuple((option.key, option.service.largest) for option in options if option.service.known))
        until, trained_from = self._trained
        if self._table is None or now >= until or basis != trained_from:
            self._table = train(options, patience_s=self.patience_s, cores=cores)
            self._trained = (now + RETRAIN_S, basis)
        return self._table

    def fade(self, now: float) -> None:
        """Believe a little less in what is known of variants that did not run for a while."""
        if now >= self._faded_at + RETRAIN_S:
            self._faded_at = now
            for key, service in self.services.items():
                service.fade(again=key not in self._profiles)

    def able(self, work: Work) -> list[tuple[Rung, Service]]:
        """The variants that may answer a work, the least accurate first, and their runs on one thread.

        Of these the ones that are loaded, and of these the ones of which something is known, if any is.
        """
        able = [rung for rung in reversed(self.ladder.rungs) if answers(rung, work)]
        loaded = {variant for variant, _ in self.held}
        able = [rung for rung in able if rung.variant in loaded] or able
        each = [(rung, self.services[rung.variant, 1]) for rung in able]
        return [pair for pair in each if pair[1].known] or each

    def possible(self, work: Work) -> bool:
        """Whether a work could be done in its time if nothing else was to be done; what is not known may be."""
        patience_s = work.deadline - work.arrived
        for option in self.options(work):
            service, seconds = option.service, patience_s
            if not service.known:  # at best, each thread has its share of what one alone has to do
                service, seconds = self.services[option.rung.variant, 1], patience_s * option.threads
            if service.within(work.rows, seconds) > HARDLY:
                return True
        return False

    def doubt(self, work: Work, now: float) -> bool:
        """Whether to let a work in against what is believed: nothing ran for long, and it was possible once.

        What seems too slow for everyone never runs, and nothing else would ever show that it is not any more.
        """
        patience_s = work.deadline - work.arrived
        if self.wants or now - self.ran_at < min(FADES * self.patience_s, DOUBT_S):
            return False
        able = {rung.variant for rung in self.ladder.rungs if answers(rung, work)}
        profiles = (profile for (variant, _), profile in self._profiles.items() if variant in able)
        if all(profile.within(work.rows, patience_s) <= HARDLY for profile in profiles):
            return False
        self.unjudged_until, self.least_s = now, 0.0
        return True

    def learn(self, run: Run, took_s: float, overhead_s: float | None = None) -> bool:
        """A run took so long, and kept its cores so much longer, if that is known; whether it is still offered."""
        service = self.services.get((run.variant, run.threads))
        if service is None:
            return False
        service.observe(run.rows, took_s, overhead_s)
        for other in self.services.values():
            other.top(service.overhead_s)
        self._time()
        return True

    def _time(self) -> None:
        known = [service.alone(1) for service in self.services.values() if service.known]
        self.least_s = self._least_s = 0.5 * min(known, default=0.0)

    def _worth_threads(self, variant: str, threads: int, trying: bool) -> bool:
        alone = self.services[variant, 1]
        return self.services[variant, threads].known or (
            trying and alone.known and alone.median(1) >= MANY_THREADS_FROM_S
        )
