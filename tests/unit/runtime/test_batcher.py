"""The batcher: what arrives together runs together, and everybody is told what became of theirs, once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from runtime.batcher import Batcher, Executed, Inputs, Outcome
from runtime.errors import (
    Defect,
    ExecutionFailed,
    Expired,
    InvalidBody,
    NoRoom,
    NotServing,
    Refused,
    RuntimeFault,
    TooStrict,
)
from scheduler.station import Station
from scheduler.work import Action, Ladder, Load, Run, Rung, Work

SLOW = {1: ((1, 0.01, 0.02), (64, 0.02, 0.03))}
QUICK = {1: ((1, 1e-5, 2e-5), (64, 2e-5, 3e-5))}


class Doubler:
    """An engine that doubles x; what holds 13 fails whatever it is run with."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.started = asyncio.Event()
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.held = True
        self.fault: Exception | None = None
        self.loaded = False
        self.settled = 0
        self.ended: list[bool] = []
        self.prefetched: list[tuple[str, str, int]] = []

    def immediate(self, run: Run) -> bool:
        return self.held

    def execute(self, run: Run, inputs: Sequence[Inputs], rows: Sequence[int]) -> Executed:
        self.batches.append(len(inputs))
        self._loop.call_soon_threadsafe(self.started.set)
        self.threads.add(threading.current_thread().name)
        self.gate.wait(10)
        if self.fault is not None:
            raise self.fault
        if any(13 in request["x"] for request in inputs):
            raise ExecutionFailed("13 is poison")
        return Executed([{"y": 2 * request["x"]} for request in inputs], 1e-3, self.loaded)

    def prefetch(self, task: str, variant: str, threads: int) -> None:
        self.prefetched.append((task, variant, threads))
        raise NoRoom("no room")

    def settle(self) -> None:
        self.settled += 1

    def ran(self, run: Run, took_s: float, ok: bool) -> None:
        self.ended.append(ok)


class Bench:
    """A batcher over a Doubler on the running loop."""

    def __init__(self, service: Any = QUICK, *, max_batch: int = 64, waiting: int = 4096, cores: int = 1) -> None:
        self.engine = Doubler()
        self.station = Station(cores, waiting=waiting)
        self.loop = asyncio.get_running_loop()
        self.clock = self.loop.time
        self.station.offer(Ladder("m", (Rung("v", 0.9, max_batch, service),)), self.clock())
        self.station.resident("m", "v", 1)
        self.batcher = Batcher(self.station, self.engine, cores=cores, clock=self.clock)

    def ask(self, value: int = 1, rows: int = 1, **options: Any) -> tuple[Work, asyncio.Future[Outcome | RuntimeFault]]:
        told: asyncio.Future[Outcome | RuntimeFault] = self.loop.create_future()
        now = self.clock()
        deadline = now + options.pop("within_s") if "within_s" in options else float("inf")
        work = Work("m", rows, now, deadline, **options)
        self.batcher.submit(work, {"x": np.full((rows, 2), value)}, told.set_result)
        return work, told


@asynccontextmanager
async def bench(service: Any = QUICK, **options: Any) -> AsyncIterator[Bench]:
    made = Bench(service, **options)
    async with asyncio.timeout(20):
        yield made
        made.engine.gate.set()
        await made.batcher.close()


async def answer(told: asyncio.Future[Outcome | RuntimeFault]) -> Outcome:
    outcome = await told
    assert isinstance(outcome, Outcome), outcome
    return outcome


async def test_what_arrives_together_runs_together_on_the_loop() -> None:
    async with bench() as b:
        asked = [b.ask(i, rows=i)[1] for i in (1, 2, 3)]
        for i, told in zip((1, 2, 3), asked, strict=True):
            outcome = await answer(told)
            np.testing.assert_array_equal(outcome.outputs["y"], np.full((i, 2), 2 * i))
            assert (outcome.variant, outcome.threads, outcome.batch, outcome.loaded) == ("v", 1, 6, False)
        assert b.engine.batches == [3]
        assert b.engine.threads == {threading.current_thread().name}


@pytest.mark.parametrize(("service", "held"), [(SLOW, True), (QUICK, False)])
async def test_what_takes_long_or_must_be_loaded_leaves_the_loop(service: Any, held: bool) -> None:
    async with bench(service) as b:
        b.engine.held = held
        await answer(b.ask()[1])
        assert threading.current_thread().name not in b.engine.threads


async def test_what_comes_during_a_run_is_the_next_one() -> None:
    async with bench(SLOW) as b:
        b.engine.gate.clear()
        first = b.ask()[1]
        await b.engine.started.wait()
        later = [b.ask()[1] for _ in range(4)]
        assert (b.batcher.waiting, b.batcher.running) == (4, 1)
        b.engine.gate.set()
        await answer(first)
        for told in later:
            await answer(told)
        assert b.engine.batches == [1, 4]


@pytest.mark.parametrize("inline", [False, True])
async def test_a_core_gets_its_next_run_before_the_last_ones_answers_go_out(inline: bool) -> None:
    async with bench(SLOW, max_batch=1) as b:
        b.engine.gate.clear()
        seen: list[tuple[int, int, int]] = []
        told = b.loop.create_future()

        def first(outcome: Outcome | RuntimeFault) -> None:
            seen.append((b.batcher.waiting, b.batcher.running, len(b.engine.batches)))
            told.set_result(outcome)

        b.batcher.submit(Work("m", 1, b.clock()), {"x": np.full((1, 2), 1)}, first)
        await b.engine.started.wait()
        later = b.ask()[1]
        if inline:  # a run on the loop would hold the answers up: it begins after them
            b.batcher._inline_s = 1.0
        b.engine.gate.set()
        await answer(told)
        await answer(later)
        assert seen[0][:2] == (0, 1)
        if inline:
            assert seen[0][2] == 1
            assert threading.current_thread().name in b.engine.threads


@pytest.mark.parametrize(
    ("cores", "run_s", "inline"), [(1, 1e-3, True), (2, 1e-3, False), (1, 3e-3, False), (2, 1e-4, True)]
)
async def test_a_brief_run_is_done_on_the_loop_and_one_on_all_cores_may_be_longer(
    cores: int, run_s: float, inline: bool
) -> None:
    async with bench({1: ((1, run_s, run_s),)}, cores=cores) as b:
        await answer(b.ask()[1])
        assert (threading.current_thread().name in b.engine.threads) is inline


async def test_a_run_on_all_of_several_cores_may_be_longer_too() -> None:
    async with bench({1: ((1, 3e-3, 3e-3),), 2: ((1, 1e-3, 1e-3),)}, cores=2) as b:
        b.station.resident("m", "v", 2)
        assert (await answer(b.ask()[1])).threads == 2
        assert b.engine.threads == {threading.current_thread().name}


async def test_a_run_of_which_nothing_is_known_keeps_off_the_loop() -> None:
    async with bench({}) as b:
        await answer(b.ask()[1])
        assert threading.current_thread().name not in b.engine.threads


async def test_a_station_that_fails_as_a_run_ends_keeps_neither_answers_nor_the_next_run() -> None:
    async with bench(SLOW) as b:
        failures: list[dict[str, Any]] = []
        b.loop.set_exception_handler(lambda loop, context: failures.append(context))
        b.engine.gate.clear()
        first = b.ask()[1]
        await b.engine.started.wait()
        later = b.ask()[1]
        finished = b.station.finished

        def failing(*args: Any, **options: Any) -> None:
            finished(*args, **options)
            b.station.finished = finished  # type: ignore[method-assign]
            raise ZeroDivisionError

        b.station.finished = failing  # type: ignore[method-assign]
        b.engine.gate.set()
        await answer(first)
        await answer(later)
        assert isinstance(failures[0]["exception"], ZeroDivisionError)


async def test_works_of_other_forms_never_share_a_run() -> None:
    async with bench() as b:
        asked = [b.ask(form=form)[1] for form in ("a", "b", "a")]
        for told in asked:
            await answer(told)
        assert sorted(b.engine.batches) == [1, 2]


async def test_a_poisoned_request_fails_alone() -> None:
    async with bench() as b:
        asked = [b.ask(value)[1] for value in (1, 13, 3)]
        first, poisoned, last = [await told for told in asked]
        assert isinstance(poisoned, ExecutionFailed)
        for outcome, value in ((first, 2), (last, 6)):
            assert isinstance(outcome, Outcome)
            assert outcome.outputs["y"][0, 0] == value
            assert outcome.batch == 1
        assert b.engine.batches == [3, 1, 1, 1]
        assert b.engine.ended == [False]


async def test_what_keeps_a_whole_run_from_running_is_not_tried_one_by_one() -> None:
    async with bench() as b:
        b.engine.fault = NoRoom("full")
        asked = [b.ask()[1] for _ in range(3)]
        assert [type(await told) for told in asked] == [NoRoom] * 3
        assert b.engine.batches == [3]


async def test_a_defect_is_told_and_nothing_stops() -> None:
    async with bench() as b:
        b.engine.fault = ZeroDivisionError("oops")
        fault = await b.ask()[1]
        assert isinstance(fault, Defect)
        assert "ZeroDivisionError: oops" in str(fault)
        b.engine.fault = None
        await answer(b.ask()[1])


async def test_expired_work_never_runs_and_is_told_at_once() -> None:
    async with bench(SLOW) as b:
        b.engine.gate.clear()
        first = b.ask()[1]
        await b.engine.started.wait()
        late = b.ask(within_s=0.2)[1]
        assert isinstance(await late, Expired)
        assert not first.done()
        b.engine.gate.set()
        await answer(first)
        assert b.engine.batches == [1]


async def test_who_cannot_be_served_in_time_is_refused() -> None:
    async with bench(SLOW) as b:
        b.engine.gate.clear()
        first = b.ask()[1]
        await b.engine.started.wait()
        refused = await b.ask(within_s=0.011)[1]
        assert isinstance(refused, Refused)
        assert refused.retry_after_s > 0
        b.engine.gate.set()
        await answer(first)
        assert b.engine.batches == [1]


async def test_who_could_not_be_served_in_time_by_anybody_is_told_so() -> None:
    async with bench(SLOW) as b:
        hopeless, late = await b.ask(within_s=0.001)[1], await b.ask(within_s=-1.0)[1]
        assert isinstance(hopeless, TooStrict)
        assert "it cannot be done in 1 ms, even if nothing else was to be done" in str(hopeless)
        assert isinstance(late, Expired)
        assert "its deadline had passed when it came" in str(late)
        assert b.engine.batches == []


async def test_a_floor_that_nothing_holds_is_the_callers_to_lower() -> None:
    async with bench() as b:
        assert isinstance(await b.ask(floor=0.99)[1], InvalidBody)


async def test_no_more_wait_than_may() -> None:
    async with bench(SLOW, waiting=2) as b:
        asked = [b.ask()[1] for _ in range(3)]
        assert isinstance(await asked[2], Refused)
        for told in asked[:2]:
            await answer(told)


async def test_what_is_cancelled_while_it_waits_never_runs() -> None:
    async with bench() as b:
        work, told = b.ask()
        assert b.batcher.cancel(work) is not None
        other = b.ask()[1]
        await answer(other)
        assert not told.done()
        assert b.engine.batches == [1]
        assert b.batcher.cancel(work) is None


async def test_what_runs_cannot_be_cancelled() -> None:
    async with bench(SLOW) as b:
        b.engine.gate.clear()
        work, told = b.ask()
        await b.engine.started.wait()
        assert b.batcher.cancel(work) is None
        b.engine.gate.set()
        await answer(told)


async def test_a_run_that_loaded_is_told_of() -> None:
    async with bench() as b:
        b.engine.loaded = True
        outcome = await answer(b.ask()[1])
        assert outcome.loaded
        assert b.engine.settled == 1


async def test_closing_lets_what_came_end_and_takes_no_more() -> None:
    async with bench(SLOW) as b:
        b.engine.gate.clear()
        asked = [b.ask()[1] for _ in range(3)]
        closing = asyncio.ensure_future(b.batcher.close())
        await asyncio.sleep(0)
        assert isinstance(await b.ask()[1], NotServing)
        assert not closing.done()
        b.engine.gate.set()
        await closing
        for told in asked:
            await answer(told)


class Prefetching(Station):
    """A station that wants a variant loaded, once."""

    def act(self, now: float) -> list[Action]:
        wanted, self.wanted = getattr(self, "wanted", [Load("m", "v", 2, "it pays")]), []
        return [*wanted, *super().act(now)]


async def test_what_is_prefetched_in_vain_changes_nothing() -> None:
    async with bench() as b:
        settled = asyncio.Event()
        b.engine.settle = settled.set  # type: ignore[method-assign]
        batcher = Batcher(Prefetching(1), b.engine, cores=1, clock=b.clock)
        batcher.wake()
        await settled.wait()
        assert b.engine.prefetched == [("m", "v", 2)]
        await batcher.close()


async def test_a_station_that_fails_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async with bench() as b:
        act = b.station.act
        b.station.act = lambda now: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        fault = await b.ask()[1]
        assert isinstance(fault, Defect)
        assert "the scheduler failed: ZeroDivisionError" in str(fault)
        assert "the station failed" in caplog.text
        b.station.act = act  # type: ignore[method-assign]
        await answer(b.ask()[1])


async def test_a_station_that_fails_as_a_work_comes_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with bench() as b:
        arrive = b.station.arrive
        b.station.arrive = lambda work, now: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        assert isinstance(await b.ask()[1], Defect)
        assert "the station failed" in caplog.text
        b.station.arrive = arrive  # type: ignore[method-assign]
        await answer(b.ask()[1])


@pytest.mark.parametrize("value", [1, 13])
async def test_an_answer_that_cannot_be_given_costs_nobody_else_anything(
    value: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(SLOW) as b:

        def broken(outcome: Outcome | RuntimeFault) -> None:
            raise ZeroDivisionError

        b.batcher.submit(Work("m", 1, b.clock()), {"x": np.full((1, 2), value)}, broken)
        outcome = await b.ask()[1]
        assert isinstance(outcome, Outcome)
        assert "an answer could not be given" in caplog.text
        # The run's cores are free again.
        await answer(b.ask()[1])


async def test_what_could_not_be_loaded_may_have_evicted_what_was() -> None:
    async with bench() as b:
        b.engine.fault = NoRoom("full")
        await b.ask()[1]
        assert b.engine.settled == 1
