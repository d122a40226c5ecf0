"""What waits and what runs on one tier's cores: events in, actions out; it has no clock and does no I/O.

Whoever drives it (a container's loop, a simulator) tells it what arrives and what ends, asks what to do, and carries
that out. The cores are the resource: a run takes its threads' worth of them until it ends, so how many replicas run on
how many threads each follows from what is chosen, run by run. Tasks share the cores by start-time fair queueing (Goyal
et al., SIGCOMM '96): the one that has had least of them for its weight is next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from math import inf
from typing import NamedTuple

from scheduler.admission import ALL, Pace
from scheduler.batching import Service, pays_to_wait
from scheduler.rules import Room, rule_named
from scheduler.served import Outlook, Served
from scheduler.switching import FILLED, Choice, Option, Price, choose, earliest, first, tightest
from scheduler.work import Action, Expire, Ladder, Load, Refuse, Run, Work, answers

WAITING = 4096
"""Most works of one task that wait; beyond them even a work without a deadline is refused."""

RETRY_S = 1.0
"""When to try again where no deadline tells how late a work would be."""

LEAST_LOAD_S = 0.05
"""How long loading takes at least, and where that is not known: what opening a small model takes."""

LEAST_GAP_S = 0.1e-3
"""Between two rows, for a run to be held back for the next one: a timer is no finer, and who comes sooner is there
before the next run begins anyway."""

MOSTLY = 0.9
"""The share of the usual patience that most works have left when they come."""

OURS = "modelless"

_ANYONE = Work("", 1, 0.0)
"""Whom every variant may answer."""


class _Going(NamedTuple):
    run: Run
    since: float
    """When (s) its core was free for it: before it began, where works waited already."""
    ends: float
    """When it is expected to (s)."""
    left_s: float
    """What its most urgent work had when it began."""
    task: Served
    loads: bool
    """Whether its variant had to be loaded first."""


class Station:
    """The works and runs of a tier with some cores."""

    def __init__(
        self,
        cores: int,
        *,
        batching: str = OURS,
        waiting: int = WAITING,
        gauss: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`batching` names a rule of `scheduler.rules`; any but ours chooses batch sizes alone, for one variant.

        `gauss` draws standard normals, for the rules that explore at random. Raises ValueError for an unknown rule.
        """
        self.cores = cores
        self.batching = batching
        make = rule_named(batching)
        self._make_rule = lambda service: make(service, gauss)
        self._most_waiting = waiting
        self._threads = tuple(dict.fromkeys((1, cores))) if batching == OURS else (1,)
        self._tasks: dict[str, Served] = {}
        self._waiting: dict[str, Served] = {}
        self._going: dict[int, _Going] = {}
        self._number = count(1)
        self._free = cores
        self._freed = inf
        """When (s) a run ended while works waited, so that the next one could begin; infinite when there was none."""
        self._changes = 0
        """Of what admission goes by: runs that began or ended, tasks that want the cores, what is offered or loaded."""
        self._due = inf
        """When (s) something may have to be given up, or may begin that was held back."""
        self._spent = 0.0
        """Core-seconds for its weight that the task had whose run began last."""
        self._weight = 0.0
        """Of the tasks that want the cores: something of them waits or runs."""

    # What there is

    def offer(self, ladder: Ladder, now: float) -> None:
        """Serve a task from now on, or serve it with other variants; what was learnt of those that stay is kept."""
        task = self._tasks.get(ladder.task)
        if task is None:
            task = self._tasks[ladder.task] = Served(ladder, self._threads, self._make_rule)
        elif task.wants:
            self._weight += ladder.weight - task.ladder.weight
        task.offer(ladder)
        self._changes += 1

    def withdraw(self, task: str) -> list[Work]:
        """Serve a task no more; returns the works that waited."""
        gone = self._tasks.pop(task, None)
        if gone is None:
            return []
        self._changes += 1
        if self._waiting.pop(task, None) is not None:
            self._want(gone, -1)
        return list(gone.queue)

    def resident(self, task: str, variant: str, threads: int, held: bool = True) -> None:
        """A variant is loaded for this number of threads, or no more; what is not offered is passed over."""
        found = self._tasks.get(task)
        if found is not None:
            (found.held.add if held else found.held.discard)((variant, threads))
            self._changes += 1
            for kept in (found.lost, found.asked):
                kept.pop((variant, threads), None)

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

    def arrive(self, work: Work, now: float) -> Refuse | Expire | None:
        """A work came; it waits from now on, unless it is refused, or is too strict for another try to be of use.

        Raises KeyError for a task that is not offered, and ValueError for a work without rows or with a deadline that
        is no number.
        """
        task = self._tasks[work.task]
        if work.rows < 1 or not work.deadline >= -inf:
            raise ValueError(f"a work needs a row and a deadline: {work.rows} rows, {work.deadline}")
        task.note(work, now)
        turned_away = self._admission(task, work, now)
        if turned_away is not None:
            return turned_away
        if not task.queue:
            # A task that was away does not come back with credit for all that time.
            task.spent = max(task.spent, self._spent)
            self._waiting[work.task] = task
            self._want(task, 1)
        task.queue.add(work)
        task.holds_until = -inf  # it was waited for
        self._due = min(self._due, work.deadline - task.least_s)
        return None

    def cancel(self, work: Work) -> bool:
        """Nobody wants the answer any more; whether the work waited, and is gone."""
        task = self._tasks.get(work.task)
        if task is None or not task.queue.remove(work):
            return False
        self._tidy(task)
        return True

    def finished(self, run: Run, took_s: float, now: float, *, ok: bool = True) -> None:
        """A run ended; a failed one teaches nothing, and one that loaded its variant first nothing of overheads."""
        going = self._going.pop(run.number, None)
        if going is None:
            return
        self._free += run.threads
        self._changes += 1
        self._freed = now if self._waiting else inf
        task = going.task
        self._want(task, -1)
        if self._tasks.get(run.task) is not task:
            return
        task.ran_at = now
        overhead_s = None if going.loads else max(0.0, now - going.since - took_s)
        if ok and not going.loads:
            task.paused(now - going.ends, run.expected_s, now)
        task.judge(run.works, took_s, now)
        # Charged as expected when it began; what it really took corrects that.
        task.spent += run.threads * (took_s - run.expected_s) / task.ladder.weight
        task.purse.spend(run.threads * (took_s - run.expected_s))
        if ok and task.learn(run, took_s, overhead_s) and self.batching != OURS:
            task.rule((run.variant, run.threads)).observe(run.rows, took_s, going.left_s)

    def act(self, now: float) -> list[Action]:
        """What to do now: works to give up, runs to begin, variants to load."""
        actions: list[Action] = []
        if now >= self._due:
            self._due = min((self._expire(task, now, actions) for task in list(self._waiting.values())), default=inf)
        passed: set[str] = set()
        while self._free:
            favoured = self._next(passed, now)
            if favoured is None:
                break
            if not self._begin(favoured, now, actions):
                passed.add(favoured.ladder.task)
        if self._free:  # nothing wants it at once: what it waits for is no overhead
            self._freed = inf
        return actions

    def wake_at(self, now: float) -> float | None:
        """When to ask again though nothing happened: a work expires, or was held back long enough; None: never."""
        return self._due if self._waiting and self._due < inf else None

    # How it is decided

    def _want(self, task: Served, more: int) -> None:
        """A task has a queue or a run more, or one less."""
        before, task.wants = task.wants, task.wants + more
        if not before or not task.wants:
            self._weight += more * task.ladder.weight
            self._changes += len(self._tasks) > 1  # its own share is what it would be if it wanted the cores
        if not self._waiting and not self._going:
            self._weight = 0.0  # not what sums of many left over

    def _tidy(self, task: Served) -> None:
        if not task.queue:
            del self._waiting[task.ladder.task]
            self._want(task, -1)
            task.held_back, task.holds_until = False, -inf

    def _expire(self, task: Served, now: float, actions: list[Action]) -> float:
        """Give up what cannot be done any more; when (s) there may be something to give up or to begin again."""
        late = task.queue.before(now + task.least_s)
        for work in late:
            task.queue.remove(work)
            task.give_up(work)
            actions.append(Expire(work))
        if late:
            self._tidy(task)
        deadline = task.queue.earliest
        due = deadline - task.least_s
        return min(due if due > now else deadline, task.holds_until if task.holds_until > now else inf)

    def _next(self, passed: set[str], now: float) -> Served | None:
        best: Served | None = None
        for name, task in self._waiting.items():
            if name in passed or task.holds_until > now:
                continue
            if best is None or task.spent < best.spent:
                best = task
        return best

    def _begin(self, task: Served, now: float, actions: list[Action]) -> bool:
        """Begin the best run of a task; whether there is one that may begin now, or else something changed."""
        task.fade(now)
        works = task.front()
        options = task.options(works[0], trying=len(task.queue) == 1)
        if not options:  # what could answer it is offered no more
            self.cancel(works[0])
            actions.append(_hopeless(works[0]))
            return True
        choice = self._choice(task, works, options, now, actions)
        if choice is None or self._hold_back(task, choice, now):
            return False
        option, picked = choice.option, choice.works
        service = option.service
        expected_s, occupied_s = service.alone(choice.rows), service.median(choice.rows)
        name = task.ladder.task
        run = Run(next(self._number), name, option.rung.variant, option.threads, picked, choice.rows, expected_s)
        task.queue.take(picked)
        task.held_back, task.holds_until = False, -inf
        self._free -= run.threads
        self._changes += 1
        since, self._freed = min(now, self._freed), inf
        ends = max(now + expected_s, since + occupied_s) + (0.0 if option.resident else option.rung.load_s)
        self._going[run.number] = _Going(run, since, ends, picked[0].deadline - now, task, not option.resident)
        self._want(task, 1)
        self._tidy(task)
        self._spent = max(self._spent, task.spent)
        task.spent += run.threads * occupied_s / task.ladder.weight
        task.purse.spend(run.threads * occupied_s)
        actions.append(run)
        return True

    def _hold_back(self, task: Served, choice: Choice, now: float) -> bool:
        """Wait for one more work, once, where that pays: on the last free core, with time left for it."""
        option, rows = choice.option, choice.rows
        ours = self.batching == OURS
        if not ours or task.held_back or self._free > option.threads or rows >= option.rung.max_batch:
            return False
        rate, service = task.arrivals.rate(now), option.service
        if not 0 < rate * LEAST_GAP_S < 1 or rows < task.queue.rows or not pays_to_wait(service, rows, 1 / rate):
            return False
        if task.queue.earliest - now < 2 / rate + service.tail(rows + 1):
            return False
        task.held_back, task.holds_until, self._freed = True, now + 2 / rate, inf
        self._due = min(self._due, task.holds_until)
        return True

    def _choice(
        self, task: Served, works: Sequence[Work], options: Sequence[Option], now: float, actions: list[Action]
    ) -> Choice | None:
        if self.batching != OURS or (len(options) == 1 and task.patience_s == inf):
            return self._ruled(task, works, options[0], now)
        if len(options) == 1:
            only = self._only(task, works, options[0], now)
            if only is not None:
                return only
        cores = self._share(task)
        table = task.table(options, cores, now)
        free_at = self._free_at(now, cores)
        left_s = tightest(works, now=now, free_at=free_at, share=cores / len(free_at))
        spare = task.spare(now)
        more = task.purse.give(now, FILLED * spare * cores, task.patience_s)
        row_s = min(table.budget(task.arrivals.rate(now)) * more, left_s) * spare
        if task.patience_s == inf and len(task.queue) == len(self._waiting) == 1 and self._free == self.cores:
            row_s = inf  # nobody else would have the cores, and who comes can wait
        price, near = table.price(row_s), table.near(row_s)
        pick = partial(choose, works, now=now, free=self._free, cores=cores, usual_s=task.patience_s)
        best = pick([option for option in options if option.rung.variant in near or not option.service.known], price)
        resident = [option for option in options if option.resident]
        held = best if best is None or best.option.resident else pick(resident, price)
        if best is None or held is None or len(resident) == len(options):
            return best
        # What will be wanted in a second has to begin to load now.
        coming = table.price(min(row_s, table.budget(task.forecast.ahead(now)) * spare))
        for at in dict.fromkeys((price, coming)):
            wanted = best if at is price else pick(options, at)
            instead = held if at is price else pick(resident, at)
            if wanted is not None and instead is not None and not wanted.option.resident:
                load = self._regret(task, wanted, instead, at, now=now)
                actions += [load] if load is not None else []
        return held

    def _only(self, task: Served, works: Sequence[Work], option: Option, now: float) -> Choice | None:
        """With one way to run, as many works as leave time for who comes meanwhile; None where some would be late."""
        service, limit = option.service, option.rung.max_batch
        if option.threads > self._free:
            return None
        most = service.most(service.turn(task.patience_s, self._share(task) / option.threads), limit)
        picked = first(works, option.rung, service.efficient(min(most, task.queue.rows)))
        rows = sum(work.rows for work in picked)
        if now + service.tail(rows) > earliest(picked):
            return None
        return Choice(option, tuple(picked), rows, 0.0)

    def _ruled(self, task: Served, works: Sequence[Work], option: Option, now: float) -> Choice | None:
        """As many works as the named rule allows."""
        threads, limit = option.threads, option.rung.max_batch
        if threads > self._free:
            return None
        lanes, free = self.cores // threads, self._free // threads
        room = Room(works[0].deadline - now, task.patience_s, lanes, free, task.queue.rows, limit)
        most = task.rule(option.key).most(room)
        picked = first(works, option.rung, most)
        return Choice(option, tuple(picked), sum(work.rows for work in picked), 0.0)

    def _regret(self, task: Served, best: Choice, held: Choice, price: Price, *, now: float) -> Load | None:
        """Load what would be better, once as much was lost without it as loading costs.

        That is the ski-rental rule, which never loses more than twice what hindsight would (Karlin et al. 1988).
        Loading takes a core for its time, and what it gains must be wanted for as long. What was asked for and did not
        come, as it may not fit, costs twice as much each time.
        """
        key, gain = best.option.key, best.worth - held.worth
        rate = max(task.arrivals.rate(now), task.forecast.ahead(now))
        if gain <= 0 or rate <= 0:
            return None
        asked = task.asked.get(key, 0)
        lost = task.lost[key] = task.lost.get(key, 0.0) + gain
        load_s = max(best.option.rung.load_s, LEAST_LOAD_S) * 2**asked
        if lost < load_s * max(price.per_core_s, rate * gain / best.rows):
            return None
        task.lost[key], task.asked[key] = 0.0, asked + 1
        return Load(task.ladder.task, *key, f"{lost:.2f} right answers were lost without it")

    def _share(self, task: Served) -> float:
        """Cores that are the task's while others want them, too."""
        weight = task.ladder.weight
        return self.cores * weight / (self._weight + (0.0 if task.wants else weight))

    def _free_at(self, now: float, cores: float) -> list[float]:
        """When (s) each of a task's cores is free, the first ones first."""
        ends = sorted(max(now, going.ends) for going in self._going.values() for _ in range(going.run.threads))
        return ([now] * self._free + ends)[: max(1, round(cores))]

    def _admission(self, task: Served, work: Work, now: float) -> Refuse | Expire | None:
        if task.queue.rows >= self._most_waiting and len(task.queue) >= self._most_waiting:
            return Refuse(work, RETRY_S, f"{len(task.queue)} works wait")
        if work.deadline == inf and not work.floor and work.variant is None:
            return None
        if self.batching != OURS or work.deadline == inf:
            return None if any(answers(rung, work) for rung in task.ladder.rungs) else _hopeless(work)
        outlook = task.outlook
        if outlook is None or outlook.of != self._changes:
            outlook = task.outlook = self._outlook(task, now)
        plain, queue = not work.floor and work.variant is None, task.queue
        soon = plain and work.rows == 1 and queue.rows < outlook.sure and work.deadline - now >= outlook.sure_s
        if soon and queue.ahead_of(work.deadline, work.priority) == queue.rows:
            return None
        paces = outlook.paces if plain else self._paces(task, work)
        return self._foretold(task, work, paces, now, max(now, outlook.free_at))

    def _foretold(
        self, task: Served, work: Work, paces: Sequence[Pace], now: float, begin: float
    ) -> Refuse | Expire | None:
        """None for a work that is in time as far as can be foretold, if the first core is free at `begin`."""
        if not paces:
            return _hopeless(work)
        late = self._lateness(task, work, paces, now, begin)
        if late <= 0:
            return None
        # Does it take too long by itself, whatever waits?
        slow = all(pace.alone(work, now) > 0 for pace in paces)
        if slow and self._free and work.deadline > now and task.doubt(work, now):
            return None
        too_strict = work.deadline <= now or (slow and not task.possible(work))
        return Expire(work) if too_strict else Refuse(work, late, "it cannot be done by its deadline")

    def _outlook(self, task: Served, now: float) -> Outlook:
        free_at = -inf if self._free else min(going.ends for going in self._going.values())
        paces, sure_s = self._paces(task, _ANYONE), MOSTLY * task.patience_s
        left_s = sure_s - task.margin(now) * task.patience_s - max(0.0, free_at - now)
        sure = paces[0].sure(left_s) if paces and task.alike >= ALL and left_s < inf else 0
        return Outlook(self._changes, free_at, paces, sure, sure_s, task.patience_s)

    def _paces(self, task: Served, work: Work) -> list[Pace]:
        """How fast what may answer a work answers what waits, the least accurate variant first."""
        queue, arrivals, patience_s, cores = task.queue, task.arrivals, task.patience_s, self._share(task)
        return [
            Pace(rung, service, queue, arrivals, patience_s=patience_s, cores=cores)
            for rung, service in task.able(work)
        ]

    def _lateness(self, task: Served, work: Work, paces: Sequence[Pace], now: float, begin: float) -> float:
        """By how many seconds a work would be late whichever variant answers, the first core being free at `begin`."""
        margin_s = task.margin(now) * (work.deadline - work.arrived)
        if self._free and not self._waiting and paces[0].alone(work, now, margin_s) <= 0:
            return 0.0  # it begins at once
        soonest = inf
        for pace in paces:
            late = pace.lateness(work, now, begin=begin, alike=task.alike, margin_s=margin_s)
            if late <= 0:
                if late == -inf:
                    task.unjudged_until = now
                return late
            soonest = min(soonest, late)
        return soonest


def _hopeless(work: Work) -> Refuse:
    return Refuse(work, inf, _unanswerable(work))


def _unanswerable(work: Work) -> str:
    if work.variant is not None:
        return f"there is no variant {work.variant} that is as accurate as {work.floor:g}"
    return f"no variant is as accurate as {work.floor:g}"
