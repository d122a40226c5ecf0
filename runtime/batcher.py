"""Drives a station on an event loop: what arrives in one turn of it is decided upon together; decides nothing itself.

A core that becomes free gets its next run at once, before the answers of its last one go out. Nothing waits for a batch
to fill: while a run is under way, what comes meanwhile waits for its end anyway, and is the next run. A brief run is
done on the loop itself, for a thread would cost more than it saves.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from runtime.errors import (
    Defect,
    ExecutionFailed,
    Expired,
    InvalidBody,
    NotServing,
    Refused,
    RuntimeFault,
    TooStrict,
)
from runtime.lanes import Lanes
from scheduler.station import Station
from scheduler.work import Expire, Load, Refuse, Run, Work

log = logging.getLogger(__name__)

Inputs = Mapping[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]

INLINE_S = 0.3e-3
"""Longest run that is done on the loop: a hop to a thread and back takes 0.1 ms, and more while both want the GIL."""

INLINE_ON_ALL_S = 2e-3
"""The same for one on all cores: nothing else could run meanwhile."""


class Outcome(NamedTuple):
    """What came of a work: its own rows' outputs, and how they were made."""

    outputs: Outputs
    variant: str
    threads: int
    batch: int
    """Rows of the whole run."""
    queue_s: float
    """From arrival to the start of the run."""
    run_s: float
    loaded: bool
    """The model was loaded for this run."""


Done = Callable[[Outcome | RuntimeFault], None]


class Executed(NamedTuple):
    """A run's outputs by work, the seconds that it took, and whether its model was loaded for it."""

    outputs: Sequence[Outputs]
    run_s: float
    loaded: bool


class Engine(Protocol):
    """What carries out what a station decides; `execute` and `prefetch` are called on threads, too."""

    def immediate(self, run: Run) -> bool:
        """Whether the run needs no load, and takes as long as the station expects."""

    def execute(self, run: Run, inputs: Sequence[Inputs], rows: Sequence[int]) -> Executed:
        """Run these works of `run` together, loading the model if need be; raises RuntimeFault."""

    def prefetch(self, task: str, variant: str, threads: int) -> None:
        """Load a variant ahead of runs; raises RuntimeFault."""

    def settle(self) -> None:
        """Tell the station what is loaded now, after something was."""

    def ran(self, run: Run, took_s: float, ok: bool) -> None:
        """Take note of a run that ended."""


_Asked = tuple[Work, Inputs, Done]


class Batcher:
    """The works that wait and run on one loop; every method is called on it."""

    def __init__(
        self,
        station: Station,
        engine: Engine,
        *,
        cores: int,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Callable[[], float] = time.monotonic,
        inline_s: float = INLINE_S,
    ) -> None:
        self._station = station
        self._engine = engine
        self._clock = clock
        self._cores, self._inline_s = cores, inline_s
        self._loop = loop or asyncio.get_running_loop()
        self._lanes = Lanes(cores, self._loop, "run")
        self._loader = Lanes(1, self._loop, "load")
        self._waiting: dict[Work, _Asked] = {}
        self._running = 0
        self._turn_due = False
        self._answers_due = False
        """Runs on the loop wait for answers that are there."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._idle: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Works that wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Runs that are under way."""
        return self._running

    def submit(self, work: Work, inputs: Inputs, done: Done) -> None:
        """Have the work run when its turn comes; `done` is called once, unless it is cancelled first.

        It is told the outcome, or ExecutionFailed, NoRoom or what else kept it from running, Expired, TooStrict,
        Refused, NotServing, or Defect where the station fails.
        """
        if self._closed:
            done(NotServing("the server is stopping; ask another one"))
            return
        now = self._clock()
        try:
            turned_away = self._station.arrive(work, now)
        except Exception as fault:
            log.exception("the station failed")
            done(_failed(fault))
            return
        if turned_away is not None:
            done(_turned_away(turned_away, now))
            return
        self._waiting[work] = (work, inputs, done)
        if not self._turn_due:
            self.wake()

    def cancel(self, work: Work) -> Done | None:
        """Nobody wants the answer any more; the `done` that will not be called, or None where the work did not wait."""
        asked = self._waiting.pop(work, None)
        if asked is None:
            return None
        self._station.cancel(work)
        self._check_idle()
        return asked[2]

    def wake(self) -> None:
        """Ask the station at the end of this turn of the loop; call it when something changed for it."""
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    async def close(self) -> None:
        """Take nothing more, let everything that waits and runs end, then end the threads."""
        self._closed = True
        if self._waiting or self._running:
            self._idle = self._loop.create_future()
            await self._idle
        if self._timer is not None:
            self._timer.cancel()
        for lanes in (self._lanes, self._loader):
            await self._loop.run_in_executor(None, lanes.close)

    def _turn(self) -> None:
        self._turn_due = False
        now = self._clock()
        try:
            actions = self._station.act(now)
        except Exception as fault:
            log.exception("the station failed")
            self._give_up(_failed(fault))
            return
        for action in actions:
            match action:
                case Run():
                    self._begin(action)
                case Expire(work):
                    waited_ms = (now - work.arrived) * 1e3
                    self._tell(work, Expired(f"it waited {waited_ms:.1f} ms and cannot be done by its deadline"))
                case Refuse(work):
                    self._tell(work, _turned_away(action, now))
                case Load(task, variant, threads):
                    self._loader.put(partial(self._load, task, variant, threads), self._loaded)
        self._set_timer(now)

    def _give_up(self, fault: RuntimeFault) -> None:
        """Tell all that wait: nobody would ever ask the station about them again."""
        for work in list(self._waiting):
            self._station.cancel(work)
            self._tell(work, fault)

    def _set_timer(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        at = self._station.wake_at(now)
        if at is not None:
            self._timer = self._loop.call_later(max(0.0, at - now), self.wake)

    def _begin(self, run: Run) -> None:
        asked = [self._waiting.pop(work) for work in run.works]
        self._running += 1
        if self._is_brief(run) and self._engine.immediate(run):
            if self._answers_due:
                self._loop.call_soon(self._run_inline, run, asked)
            else:
                self._run_inline(run, asked)
        else:
            self._lanes.put(
                lambda: (self._clock(), self._execute(run, asked)),
                lambda ended: self._end(run, asked, *ended, then=self._turn),
            )

    def _is_brief(self, run: Run) -> bool:
        """Whether the loop can do without itself for so long; not where that is not known."""
        longest_s = self._inline_s if run.threads < self._cores else max(self._inline_s, INLINE_ON_ALL_S)
        return 0 < run.expected_s < longest_s

    def _run_inline(self, run: Run, asked: Sequence[_Asked]) -> None:
        self._end(run, asked, self._clock(), self._execute(run, asked), then=self.wake)

    def _execute(self, run: Run, asked: Sequence[_Asked]) -> list[Executed | RuntimeFault]:
        """What became of all of them together, or of each alone where together they failed: on any thread."""
        result = self._attempt(run, asked)
        if isinstance(result, ExecutionFailed | Defect) and len(asked) > 1:
            return [self._attempt(run, [each]) for each in asked]
        return [result]

    def _attempt(self, run: Run, asked: Sequence[_Asked]) -> Executed | RuntimeFault:
        try:
            return self._engine.execute(run, [inputs for _, inputs, _ in asked], [work.rows for work, _, _ in asked])
        except RuntimeFault as fault:
            return fault
        except Exception as fault:
            # A lane's outermost loop: whatever it was, callers must be told.
            log.exception("a run of %s failed", run.task)
            return Defect(f"{type(fault).__name__}: {fault}")

    def _end(
        self,
        run: Run,
        asked: Sequence[_Asked],
        started: float,
        results: Sequence[Executed | RuntimeFault],
        *,
        then: Callable[[], None],
    ) -> None:
        """Give the core its next run by `then` where works wait, and the answers to those who asked."""
        self._running -= 1
        now = self._clock()
        if not self._waiting:  # or else the answers can wait: the core cannot
            _deliver(run, asked, started, results)
            self._learn(run, started, results, now)
            self._check_idle()
            return
        self._answers_due = True
        try:
            self._learn(run, started, results, now)
        finally:
            then()
            self._answers_due = False
            _deliver(run, asked, started, results)

    def _learn(self, run: Run, started: float, results: Sequence[Executed | RuntimeFault], now: float) -> None:
        """Tell the station that a run ended, and what is loaded where that changed."""
        first = results[0]
        ok = len(results) == 1 and isinstance(first, Executed)
        took = first.run_s if isinstance(first, Executed) else now - started
        self._station.finished(run, took, now, ok=ok)
        self._engine.ran(run, took, ok)
        if any(isinstance(result, RuntimeFault) or result.loaded for result in results):
            # A load that failed may have evicted what was there, too.
            self._engine.settle()

    def _load(self, task: str, variant: str, threads: int) -> None:
        try:
            self._engine.prefetch(task, variant, threads)
        except Exception as fault:  # noqa: BLE001 - a lane's outermost loop
            # Whoever needs it meets the error itself, and what serves now goes on serving.
            log.warning("%s of %s could not be loaded for %d threads: %s", variant, task, threads, fault)

    def _loaded(self, _: None) -> None:
        self._engine.settle()
        self.wake()

    def _tell(self, work: Work, fault: RuntimeFault) -> None:
        asked = self._waiting.pop(work, None)
        if asked is not None:
            _answer(asked[2], fault)
        self._check_idle()

    def _check_idle(self) -> None:
        if self._idle is not None and not self._waiting and not self._running and not self._idle.done():
            self._idle.set_result(None)


def _deliver(run: Run, asked: Sequence[_Asked], started: float, results: Sequence[Executed | RuntimeFault]) -> None:
    """Tell each of the works what became of it: of all of them together, or of each alone."""
    if len(results) == 1:
        _deliver_run(run, asked, started, results[0], run.rows)
        return
    for each, result in zip(asked, results, strict=True):
        _deliver_run(run, [each], started, result, each[0].rows)


def _deliver_run(run: Run, asked: Sequence[_Asked], started: float, result: Executed | RuntimeFault, rows: int) -> None:
    if isinstance(result, RuntimeFault):
        for _, _, done in asked:
            _answer(done, result)
        return
    variant, threads = run.variant, run.threads
    each, run_s, loaded = result
    for (work, _, done), outputs in zip(asked, each, strict=True):
        queue_s = started - work.arrived
        _answer(done, Outcome(outputs, variant, threads, rows, queue_s if queue_s > 0.0 else 0.0, run_s, loaded))


def _answer(done: Done, outcome: Outcome | RuntimeFault) -> None:
    try:
        done(outcome)
    except Exception:
        # One answer that cannot be given costs neither the others theirs nor the run its cores.
        log.exception("an answer could not be given")


def _failed(fault: Exception) -> Defect:
    return Defect(f"the scheduler failed: {type(fault).__name__}: {fault}")


def _turned_away(refuse: Refuse | Expire, now: float) -> RuntimeFault:
    if isinstance(refuse, Expire):
        if refuse.work.deadline <= now:
            return Expired("its deadline had passed when it came")
        patience_ms = (refuse.work.deadline - refuse.work.arrived) * 1e3
        return TooStrict(f"it cannot be done in {patience_ms:.3g} ms, even if nothing else was to be done")
    if refuse.retry_after_s == math.inf:
        return InvalidBody(f"{refuse.reason}; ask for less")
    return Refused(f"{refuse.reason}; try again in {refuse.retry_after_s:.3g} s", refuse.retry_after_s)
