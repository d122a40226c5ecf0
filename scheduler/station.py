"""What waits and what runs on one tier's cores: events in, actions out; it has no clock and does no I/O.

Whoever drives it (a container's loop, a simulator) tells it what arrives and what ends, asks what to do, and carries
that out. The cores are the resource: a run takes its threads' worth of them until it ends, so how many replicas run on
how many threads each follows from what is chosen, run by run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from math import inf

from scheduler.arrivals import Arrivals
from scheduler.batching import Service, pays_to_wait
from scheduler.queue import Queue
from scheduler.switching import Choice, Option, Price, Table, choose, tightest, train
from scheduler.work import Action, Expire, Ladder, Load, Refuse, Run, Work

LOOK = 256
"""Works from the front of a queue that a choice looks at: four of the usual largest batches."""

WAITING = 4096
"""Most works of one task that wait; beyond them even a work without a deadline is refused."""

MANY_THREADS_FROM_S = 1e-3
"""Runs on several threads are tried from here on: waking threads takes some 50 µs of a run."""

RETRAIN_S = 0.05
"""How long a table stands, as what is known of runs changes with each; training takes some 0.1 ms."""

SPLIT_FROM_S = 1e-3
"""Runs that take less are not split between free cores."""


@dataclass(slots=True)
class _Task:
    ladder: Ladder
    queue: Queue = field(default_factory=Queue)
    arrivals: Arrivals = field(default_factory=Arrivals)
    services: dict[tuple[str, int], Service] = field(default_factory=dict)
    held: set[tuple[str, int]] = field(default_factory=set)
    regret: dict[tuple[str, int], float] = field(default_factory=dict)
    patience_s: float = inf
    """From arrival to deadline, as it is usual; infinite while works have none."""
    spent: float = 0.0
    """Core-seconds by weight, for fairness."""
    table: Table | None = None
    table_until: float = 0.0
    table_options: int = 0
    holds_until: float = 0.0
    held_back: bool = False


class Station:
    """The works and runs of a tier with some cores."""

    def __init__(self, cores: int, *, waiting: int = WAITING) -> None:
        self.cores = cores
        self._most_waiting = waiting
        self._threads = tuple(dict.fromkeys((1, cores)))
        self._tasks: dict[str, _Task] = {}
        self._waiting: dict[str, _Task] = {}
        self._runs: dict[int, tuple[Run, float]] = {}
        """By number, with when it is expected to end."""
        self._number = count(1)
        self._free = cores

    # What there is

    def offer(self, ladder: Ladder, now: float) -> None:
        """Serve a task from now on, or serve it with other variants; what was learnt of those that stay is kept."""
        task = self._tasks.get(ladder.task)
        if task is None:
            task = self._tasks[ladder.task] = _Task(ladder)
        task.ladder = ladder
        for rung in ladder.rungs:
            for threads in {*rung.service, *self._threads}:
                key = (rung.variant, threads)
                if key not in task.services:
                    task.services[key] = Service(rung.service.get(threads, ()))
        kept = {rung.variant for rung in ladder.rungs}
        task.services = {key: service for key, service in task.services.items() if key[0] in kept}
        task.held = {key for key in task.held if key[0] in kept}

    def withdraw(self, task: str) -> list[Work]:
        """Serve a task no more; returns the works that waited."""
        self._waiting.pop(task, None)
        gone = self._tasks.pop(task, None)
        return [] if gone is None else list(gone.queue)

    def resident(self, task: str, variant: str, threads: int, held: bool = True) -> None:
        """A variant is loaded for this number of threads, or no more; unknown ones are passed over."""
        found = self._tasks.get(task)
        if found is not None:
            (found.held.add if held else found.held.discard)((variant, threads))
            found.regret.pop((variant, threads), None)

    def service(self, task: str, variant: str, threads: int = 1) -> Service:
        """What is known of how long its runs take; raises KeyError for what is not offered."""
        return self._tasks[task].services[variant, threads]

    @property
    def free(self) -> int:
        """Cores that run nothing."""
        return self._free

    def waiting(self, task: str) -> int:
        """Works of a task that wait."""
        found = self._tasks.get(task)
        return 0 if found is None else len(found.queue)

    # What happens

    def arrive(self, work: Work, now: float) -> Refuse | None:
        """A work came; it waits from now on, unless it is refused. Raises KeyError for a task that is not offered."""
        task = self._tasks[work.task]
        task.arrivals.note(now, work.rows)
        if work.deadline < inf:
            patience = work.deadline - work.arrived
            task.patience_s = patience if task.patience_s == inf else 0.9 * task.patience_s + 0.1 * patience
        refused = self._refusal(task, work, now)
        if refused is not None:
            return refused
        if not task.queue:
            # A task that was away must not come back with credit for all that time.
            least = min((other.spent for other in self._waiting.values()), default=task.spent)
            task.spent = max(task.spent, least)
            self._waiting[work.task] = task
        task.queue.add(work)
        return None

    def cancel(self, work: Work) -> bool:
        """Nobody wants the answer any more; whether the work waited, and is gone."""
        task = self._tasks.get(work.task)
        if task is None or not task.queue.remove(work):
            return False
        self._tidy(task)
        return True

    def finished(self, run: Run, took_s: float, now: float, *, ok: bool = True) -> None:
        """A run ended; failed ones teach nothing."""
        if self._runs.pop(run.number, None) is None:
            return
        self._free += run.threads
        task = self._tasks.get(run.task)
        if task is None:
            return
        # Charged as expected when it began; what it really took corrects that.
        task.spent += run.threads * (took_s - run.expected_s) / task.ladder.weight
        service = task.services.get((run.variant, run.threads))
        if ok and service is not None:
            service.observe(run.rows, took_s)

    def act(self, now: float) -> list[Action]:
        """What to do now: works to give up, runs to begin, variants to load."""
        actions: list[Action] = []
        for task in list(self._waiting.values()):
            self._expire(task, now, actions)
        passed: set[str] = set()
        while self._free:
            task = self._next(passed, now)
            if task is None:
                break
            if not self._begin(task, now, actions):
                passed.add(task.ladder.task)
        return actions

    def wake_at(self, now: float) -> float | None:
        """When to ask again though nothing happened: a work expires, or was held back long enough; None: never."""
        times = [task.queue.earliest for task in self._waiting.values()]
        if self._free:
            times += [task.holds_until for task in self._waiting.values() if task.holds_until > now]
        soonest = min(times, default=inf)
        return None if soonest == inf else soonest

    # How it is decided

    def _tidy(self, task: _Task) -> None:
        if not task.queue:
            self._waiting.pop(task.ladder.task, None)
            task.held_back, task.holds_until = False, 0.0

    def _expire(self, task: _Task, now: float, actions: list[Action]) -> None:
        if task.queue.earliest == inf:
            return
        late = task.queue.before(now + self._quickest(task))
        for work in late:
            task.queue.remove(work)
            actions.append(Expire(work))
        if late:
            self._tidy(task)

    def _quickest(self, task: _Task) -> float:
        """Seconds within which no run ends: half of the quickest variant's median."""
        known = [service.median(1) for service in task.services.values() if service.known]
        return 0.5 * min(known, default=0.0)

    def _next(self, passed: set[str], now: float) -> _Task | None:
        """The task that has had least of the cores for its weight, of those that do not hold back."""
        best: _Task | None = None
        for name, task in self._waiting.items():
            if name in passed or task.holds_until > now:
                continue
            if best is None or task.spent < best.spent:
                best = task
        return best

    def _begin(self, task: _Task, now: float, actions: list[Action]) -> bool:
        works = _front(task.queue)
        choice = self._choice(task, works, now, actions)
        if choice is None:
            return False
        service = choice.option.service
        if self._hold_back(task, choice, now):
            return False
        picked = tuple(works[: choice.count])
        run = Run(
            next(self._number),
            task.ladder.task,
            choice.option.rung.variant,
            choice.option.threads,
            picked,
            choice.rows,
            service.median(choice.rows),
        )
        task.queue.take(picked)
        task.held_back = False
        self._tidy(task)
        self._free -= run.threads
        self._runs[run.number] = (run, now + run.expected_s)
        task.spent += run.threads * run.expected_s / task.ladder.weight
        actions.append(run)
        return True

    def _hold_back(self, task: _Task, choice: Choice, now: float) -> bool:
        """Wait for one more work, once, where that pays: on the last free core, with time left for it."""
        if task.held_back or self._free > choice.option.threads or choice.rows >= choice.option.rung.max_batch:
            return False
        rate, service = task.arrivals.rate(now), choice.option.service
        if not rate or not pays_to_wait(service, choice.rows, 1 / rate):
            return False
        if task.queue.earliest - now < 2 / rate + service.tail(choice.rows + 1):
            return False
        task.held_back, task.holds_until = True, now + 2 / rate
        return True

    def _choice(self, task: _Task, works: Sequence[Work], now: float, actions: list[Action]) -> Choice | None:
        options = self._options(task, works[0])
        if not options:
            return None
        if len(options) == 1:
            return self._only(task, works, options[0], now)
        cores = self._share(task)
        table = self._table(task, options, cores, now)
        row_s = min(table.budget(task.arrivals.rate(now)), tightest(works, now=now, free_at=self._free_at(now, cores)))
        price, near = table.price(row_s), table.near(row_s)
        options = [option for option in options if option.rung.variant in near] or options
        best = choose(works, options, price, now=now, free=self._free)
        if best is None or best.option.resident:
            return best
        held = choose(works, [o for o in options if o.resident], price, now=now, free=self._free)
        self._consider(task, best, held, price, now, actions)
        return held if held is not None else best

    def _table(self, task: _Task, options: Sequence[Option], cores: float, now: float) -> Table:
        """The task's table for its patience and share, trained again when what it was trained from has changed."""
        kept, until = task.table, task.table_until
        if kept is None or now >= until or kept.cores != cores or len(options) != task.table_options:
            kept = task.table = train(options, patience_s=task.patience_s, cores=cores)
            task.table_until, task.table_options = now + RETRAIN_S, len(options)
        return kept

    def _only(self, task: _Task, works: Sequence[Work], option: Option, now: float) -> Choice | None:
        """All that can be done in time, shared between the cores that are free."""
        if option.threads > self._free:
            return None
        service, limit = option.service, option.rung.max_batch
        left = works[0].deadline - now
        patience = task.patience_s
        if patience < inf:
            # Who comes while this runs waits for its end, and then for its own.
            lanes = max(1, self.cores // option.threads)
            left = min(left, max(patience * lanes / (lanes + 1), left * 0.5))
        most = service.most(left, limit)
        share = -(-task.queue.rows // (self._free // option.threads))
        if share < most and service.median(min(most, task.queue.rows)) >= SPLIT_FROM_S:
            most = max(1, share)
        rows = picked = 0
        for work in works:
            if picked and rows + work.rows > most:
                break
            rows += work.rows
            picked += 1
        return Choice(option, picked, rows, 0.0)

    def _options(self, task: _Task, first: Work) -> list[Option]:
        found: list[Option] = []
        for rung in task.ladder.rungs:
            if first.variant is not None and rung.variant != first.variant:
                continue
            if rung.accuracy < first.floor:
                continue
            for threads in self._threads:
                service = task.services[rung.variant, threads]
                if threads > 1 and not self._worth_threads(task, rung.variant):
                    continue
                found.append(Option(rung, threads, service, (rung.variant, threads) in task.held))
        return found

    def _worth_threads(self, task: _Task, variant: str) -> bool:
        alone = task.services[variant, 1]
        return alone.known and alone.median(1) >= MANY_THREADS_FROM_S

    def _consider(
        self, task: _Task, best: Choice, held: Choice | None, price: Price, now: float, actions: list[Action]
    ) -> None:
        """Load what would have been better, once what was lost without it is what loading costs (ski rental)."""
        key = (best.option.rung.variant, best.option.threads)
        gain = best.worth - held.worth if held is not None else inf
        lost = task.regret.get(key, 0.0) + gain
        task.regret[key] = lost
        cost = best.option.rung.load_s * max(price.per_core_s, task.arrivals.rate(now) * gain / max(best.rows, 1))
        if held is not None and lost >= cost:
            task.regret[key] = 0.0
            actions.append(Load(task.ladder.task, *key, f"{lost:.2f} right answers were lost without it"))

    def _share(self, task: _Task) -> float:
        """Cores that are the task's while others want them, too."""
        weights = sum(other.ladder.weight for other in self._waiting.values())
        return self.cores * task.ladder.weight / weights if weights else float(self.cores)

    def _free_at(self, now: float, cores: float) -> list[float]:
        """When each of the task's cores is free."""
        ends = sorted(max(now, end) for run, end in self._runs.values() for _ in range(run.threads))
        times = [now] * self._free + ends
        return times[: max(1, round(cores))]

    def _refusal(self, task: _Task, work: Work, now: float) -> Refuse | None:
        if len(task.queue) >= self._most_waiting:
            return Refuse(work, 1.0, f"{len(task.queue)} works wait")
        if work.deadline == inf:
            return None
        late = self._finish(task, work, now) - work.deadline
        return Refuse(work, late, "it cannot be done by its deadline") if late > 0 else None

    def _finish(self, task: _Task, work: Work, now: float) -> float:
        """When the work would be done if the quickest variant that holds its floor did all that is ahead of it."""
        ahead = task.queue.ahead_of(work.deadline, work.priority)
        cores = self._share(task) if task.queue else self.cores / (1 + len(self._waiting))
        soonest = inf
        starts = self._free_at(now, cores)
        begin = starts[0]
        for rung in task.ladder.rungs:
            if rung.accuracy < work.floor or (work.variant or rung.variant) != rung.variant:
                continue
            service = task.services[rung.variant, 1]
            if not service.known:
                return now
            rows = service.most(max(work.deadline - begin, 0.0) / 2, rung.max_batch)
            queue_s = ahead / rows * service.median(rows) / len(starts)
            soonest = min(soonest, begin + queue_s + service.tail(work.rows))
        return soonest


def _front(queue: Queue) -> list[Work]:
    """The works at the front of a queue that are of the first one's form."""
    front = list(islice(queue, LOOK))
    form = front[0].form
    return front if all(work.form == form for work in front) else [work for work in front if work.form == form]
