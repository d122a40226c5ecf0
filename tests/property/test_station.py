"""Whatever comes, a station runs, expires or refuses each work once, in time, and on no more cores than there are."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scheduler.station import Station
from scheduler.work import Expire, Ladder, Load, Refuse, Run, Rung, Work, answers

TASKS = ("a", "b", "c")
VARIANTS = ("v0", "v1", "v2")
BATCHINGS = (*("modelless",) * 8, "none", "static:3", "aimd", "clipper_v1", "clipper_v4")

seconds = st.sampled_from((0.0, 1e-9, 1e-6, 1e-3, 2e-3, 20e-3, 1.0)) | st.floats(0.0, 10.0)
took = st.sampled_from((0.0, 1e-9, 1e-3, 5e-3, 1.0, 1e6)) | st.floats(0.0, 1.0)
patiences = st.sampled_from((inf, -1.0, 0.0, 1e-9, 1e-3, 5e-3, 20e-3, 1.0)) | st.floats(-1.0, 10.0)


@st.composite
def profiles(draw: st.DrawFn) -> dict[int, tuple[tuple[int, float, float], ...]]:
    """Measured on some threads, at some sizes, rising or not, and perhaps in no time."""
    measured = {}
    for threads in draw(st.sets(st.integers(1, 3), max_size=2)):
        sizes = sorted(draw(st.sets(st.sampled_from((1, 2, 4, 8, 16)), min_size=1, max_size=3)))
        medians = [draw(st.sampled_from((0.0, 1e-4, 1e-3, 3e-3, 10e-3))) for _ in sizes]
        tail = draw(st.sampled_from((1.0, 1.2, 3.0)))
        measured[threads] = tuple((rows, s, s * tail) for rows, s in zip(sizes, medians, strict=True))
    return measured


rungs = st.builds(
    Rung,
    variant=st.sampled_from(VARIANTS),
    accuracy=st.sampled_from((0.0, 0.8, 0.9, 0.99)),
    max_batch=st.sampled_from((1, 2, 5, 64)),
    service=profiles(),
    load_s=st.sampled_from((0.0, 0.1)),
)


def ladders(tasks: tuple[str, ...] = TASKS, least: int = 0) -> st.SearchStrategy[Ladder]:
    return st.builds(
        lambda task, each, weight: Ladder(task, tuple(sorted(each, key=lambda rung: -rung.accuracy)), weight),
        st.sampled_from(tasks),
        st.lists(rungs, min_size=least, max_size=3, unique_by=lambda rung: rung.variant),
        st.sampled_from((0.1, 1.0, 3.0)),
    )


@dataclass(frozen=True)
class Held:
    """What is resident."""

    task: str
    variant: str
    threads: int


class Life(RuleBasedStateMachine):
    """Events in any order at any time; what a station says of each work is checked against what may be."""

    works = Bundle("works")

    @initialize(
        cores=st.integers(1, 3),
        batching=st.sampled_from(BATCHINGS),
        waiting=st.sampled_from((4096, 4)),
        first=ladders(TASKS[:1], least=1),
        second=ladders(TASKS[1:2], least=1),
    )
    def begin(self, cores: int, batching: str, waiting: int, first: Ladder, second: Ladder) -> None:
        self.station = Station(cores, batching=batching, waiting=waiting, gauss=lambda: 0.5)
        self.now = 0.0
        self.ladders: dict[str, Ladder] = {}
        self.waiting: set[Work] = set()
        self.going: dict[int, Run] = {}
        self.ended: set[Work] = set()
        self.held: set[Held] = set()
        self.offer(first)
        self.offer(second)

    @rule(ladder=ladders())
    def offer(self, ladder: Ladder) -> None:
        self.station.offer(ladder, self.now)
        self.ladders[ladder.task] = ladder
        kept = {rung.variant for rung in ladder.rungs}
        self.held = {held for held in self.held if held.task != ladder.task or held.variant in kept}

    @rule(task=st.sampled_from(TASKS))
    def withdraw(self, task: str) -> None:
        gone = self.station.withdraw(task)
        assert len(gone) == len(set(gone))
        assert set(gone) == {work for work in self.waiting if work.task == task}
        self.ladders.pop(task, None)
        self.held = {held for held in self.held if held.task != task}
        self._end(*gone)

    @rule(task=st.sampled_from(TASKS), variant=st.sampled_from(VARIANTS), threads=st.integers(1, 3), held=st.booleans())
    def resident(self, task: str, variant: str, threads: int, held: bool) -> None:
        self.station.resident(task, variant, threads, held)
        if task in self.ladders:
            (self.held.add if held else self.held.discard)(Held(task, variant, threads))

    @precondition(lambda self: self.ladders)
    @rule(
        target=works,
        data=st.data(),
        count=st.sampled_from((1, 1, 1, 5, 40)),
        rows=st.sampled_from((1, 1, 1, 2, 7, 100)),
        patience=patiences,
        before=st.sampled_from((0.0, 1e-3)),
        floor=st.sampled_from((0.0, 0.0, 0.85, 0.95, 1.0)),
        variant=st.sampled_from((None, None, *VARIANTS)),
        priority=st.sampled_from((0, 0, -1, 2)),
        form=st.sampled_from((None, None, "other", (1, 2))),
        act=st.booleans(),
    )
    def arrive(
        self, data: st.DataObject, count: int, before: float, patience: float, act: bool, **facts: object
    ) -> object:
        task = data.draw(st.sampled_from(sorted(self.ladders)))
        came = []
        for _ in range(count):
            arrived = self.now - before
            work = Work(task, arrived=arrived, deadline=arrived + patience, **facts)  # type: ignore[arg-type]
            turned_away = self.station.arrive(work, self.now)
            assert turned_away is None or turned_away.work is work
            match turned_away:
                case Refuse():
                    assert turned_away.retry_after_s >= 0
                    assert turned_away.reason
                case Expire():
                    assert work.deadline < inf
            (self.waiting if turned_away is None else self.ended).add(work)
            came.append(work)
        if act:
            self.act()
        return multiple(*came)

    @rule(work=works)
    def cancel(self, work: Work) -> None:
        assert self.station.cancel(work) == (work in self.waiting)
        if work in self.waiting:
            self._end(work)

    @rule()
    def act(self) -> None:
        for action in self.station.act(self.now):
            match action:
                case Run():
                    self._run(action)
                case Expire(work):
                    assert work.deadline < inf
                    self._end(work)
                case Refuse(work):
                    assert not any(answers(rung, work) for rung in self.ladders[work.task].rungs)
                    self._end(work)
                case Load(task, variant, threads):
                    assert Held(task, variant, threads) not in self.held
                    assert variant in {rung.variant for rung in self.ladders[task].rungs}
        assert all(work.deadline > self.now for work in self.waiting)
        self._waits_for_something()

    @precondition(lambda self: self.going)
    @rule(data=st.data(), took_s=took, ok=st.booleans(), act=st.booleans())
    def finish(self, data: st.DataObject, took_s: float, ok: bool, act: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.going)))
        run = self.going.pop(number)
        self.station.finished(run, took_s, self.now, ok=ok)
        self.station.finished(run, took_s, self.now, ok=ok)  # told twice, it counts once
        self.ended |= set(run.works)
        if act:
            self.act()

    @precondition(lambda self: self.ladders)
    @rule(data=st.data(), gaps=st.lists(seconds, min_size=5, max_size=30), patience=patiences, took_s=took)
    def stream(self, data: st.DataObject, gaps: list[float], patience: float, took_s: float) -> None:
        """Some works one after the other, runs ending in between: what is known of them comes from such times."""
        task = data.draw(st.sampled_from(sorted(self.ladders)))
        for gap in gaps:
            self.now += gap
            work = Work(task, 1, self.now, self.now + patience)
            if self.station.arrive(work, self.now) is None:
                self.waiting.add(work)
            self.act()
            for number in sorted(self.going)[:1]:
                run = self.going.pop(number)
                self.station.finished(run, took_s * (1 + run.rows), self.now)
                self.ended |= set(run.works)

    @rule(by=seconds)
    def advance(self, by: float) -> None:
        self.now += by

    @rule()
    def wake(self) -> None:
        at = self.station.wake_at(self.now)
        self.now = max(self.now, at) if at is not None else self.now

    @invariant()
    def cores_are_counted(self) -> None:
        if hasattr(self, "station"):
            busy = sum(run.threads for run in self.going.values())
            assert busy + self.station.free == self.station.cores
            assert self.station.free >= 0
            for task in TASKS:
                assert self.station.waiting(task) == sum(work.task == task for work in self.waiting)

    def teardown(self) -> None:
        """Let everything end: nothing waits for ever."""
        if not hasattr(self, "station"):
            return
        for _ in range(4 * len(self.waiting) + 2 * len(self.going) + 10):
            self.act()
            if not self.waiting and not self.going:
                break
            if self.going:
                number, run = next(iter(self.going.items()))
                del self.going[number]
                self.now += 1e-3
                self.station.finished(run, 1e-3, self.now)
                self.ended |= set(run.works)
            else:
                at = self.station.wake_at(self.now)
                assert at is not None
                self.now = at
        assert not self.waiting
        assert not self.going

    def _run(self, run: Run) -> None:
        ladder = self.ladders[run.task]
        rung = next(rung for rung in ladder.rungs if rung.variant == run.variant)
        assert run.number not in self.going
        assert 1 <= run.threads <= self.station.cores
        assert run.works
        assert set(run.works) <= self.waiting
        assert len(set(run.works)) == len(run.works)
        assert all(answers(rung, work) and work.task == run.task for work in run.works)
        assert len({work.form for work in run.works}) == 1
        assert run.rows == sum(work.rows for work in run.works)
        assert run.rows <= rung.max_batch or len(run.works) == 1
        assert run.expected_s >= 0.0
        assert all(work.deadline > self.now for work in run.works)
        self.waiting -= set(run.works)
        self.going[run.number] = run

    def _waits_for_something(self) -> None:
        at = self.station.wake_at(self.now)
        assert at is None or at > self.now
        assert at is None or at <= min((work.deadline for work in self.waiting), default=inf)
        if self.waiting and not self.going:
            assert at is not None  # held back for a moment, at most

    def _end(self, *works: Work) -> None:
        for work in works:
            assert work in self.waiting
            self.waiting.discard(work)
            self.ended.add(work)


def test_any_life_of_a_station() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(max_examples=100, stateful_step_count=60, suppress_health_check=list(HealthCheck)),
    )
