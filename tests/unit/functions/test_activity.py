"""The api function's own part of the log: told once a minute and task, beside answers, and not lost for a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from functions.aws.activity import Activity
from functions.aws.backends import CloudBackends
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import Unavailable
from registry.model import Slo
from registry.sightings import Sighting
from registry.stores.activity import MemoryActivity
from scheduler.events import EnvironmentReady
from scheduler.requests import Request

SMALL = "lambda-1769-snapstart"
START = 29_000_000 * 60.0


class Later(Executor):
    """Does what it was given when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: work(*given, **named)))
        return future

    def work(self) -> None:
        for future, work in self.waiting:
            try:
                future.set_result(work())
            except (Unavailable, KeyError) as fault:
                future.set_exception(fault)
        self.waiting.clear()


class Seen:
    """Stands for the table of sightings."""

    def __init__(self) -> None:
        self.added: list[Sighting] = []
        self.others: list[Sighting] = []
        self.fault: Exception | None = None

    def add(self, sightings: Iterable[Sighting]) -> None:
        if self.fault is not None:
            raise self.fault
        self.added += sightings

    def since(self, at: float, now: float) -> tuple[Sighting, ...]:
        return tuple(seen for seen in self.others if seen.at >= at)


class Rig:
    def __init__(self, catalogue: Catalogue) -> None:
        self.now = 0.0
        self.snapshots = Snapshots(catalogue)
        self.backends = CloudBackends({SMALL: "worker:live"}, emit=self.snapshots.emit, clock=lambda: self.now)
        self.backends.follow(catalogue)
        self.backend: Any = self.backends.by_tier[SMALL]
        self.log, self.seen, self.thread = MemoryActivity(), Seen(), Later()
        self.activity = Activity(
            self.log,
            self.seen,  # type: ignore[arg-type]
            self.snapshots,
            self.backends.by_tier,
            clock=lambda: self.now,
            wall=lambda: START + self.now,
            thread=self.thread,
        )

    def ask(self, *tasks: str) -> None:
        for task in tasks:
            self.activity.look()
            self.activity.note(Request(task, Slo()))

    def told(self) -> dict[int, list[tuple[str, int]]]:
        return {m.minute - 29_000_000: [(u.task, u.requests) for u in m.usages] for m in self.log.between(0, 2**40)}


@pytest.fixture
def rig(catalogue: Catalogue) -> Rig:
    return Rig(catalogue)


def test_the_first_request_of_a_minute_is_told_at_once_and_the_others_with_the_next(rig: Rig) -> None:
    rig.ask("sum")
    assert rig.told() == {}  # not on the request's path
    rig.thread.work()
    assert rig.told() == {0: [("sum", 1)]}
    rig.ask("sum", "sum")
    assert rig.thread.waiting == []
    rig.ask("secret")
    rig.thread.work()
    assert rig.told() == {0: [("secret", 1), ("sum", 3)]}
    rig.now = 61.0
    rig.ask("sum")
    rig.thread.work()
    assert rig.told() == {0: [("secret", 1), ("sum", 3)], 1: [("sum", 1)]}


def test_many_requests_of_a_minute_are_told_within_it(rig: Rig) -> None:
    writes = 0
    for _ in range(150):
        rig.ask("sum")
        writes += len(rig.thread.waiting)
        rig.thread.work()
    assert writes == 3
    assert rig.told() == {0: [("sum", 100)]}


def test_one_write_is_under_way_at_a_time(rig: Rig) -> None:
    rig.ask("sum", "secret", "secret")
    assert len(rig.thread.waiting) == 1
    rig.thread.work()
    rig.ask("secret")
    rig.thread.work()
    assert rig.told() == {0: [("secret", 3), ("sum", 1)]}


def test_what_could_not_be_told_is_told_with_the_next(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.log.add = lambda minute, usages: (_ for _ in ()).throw(Unavailable("facts", "throttled"))  # type: ignore[method-assign]
    rig.ask("sum")
    rig.thread.work()
    del rig.log.add  # type: ignore[method-assign]
    rig.now = 60.0
    rig.ask("sum")
    rig.thread.work()
    assert rig.told() == {0: [("sum", 1)], 1: [("sum", 1)]}
    assert "throttled" in caplog.text


def test_what_was_told_before_a_fault_is_not_told_again(rig: Rig) -> None:
    rig.seen.fault = Unavailable("facts", "throttled")
    rig.ask("sum")
    rig.thread.work()
    rig.seen.fault = None
    rig.ask("sum", "secret")
    rig.thread.work()
    assert rig.told() == {0: [("secret", 1), ("sum", 2)]}


def test_a_fault_that_nobody_expected_fails_no_answer(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.seen.fault = KeyError("resident")
    rig.ask("sum")
    rig.thread.work()
    rig.seen.fault = None
    rig.ask("secret")
    rig.thread.work()
    assert rig.told() == {0: [("secret", 1), ("sum", 1)]}
    assert "telling activity" in caplog.text


def test_environments_are_told_once_and_those_of_others_are_taken_in(rig: Rig) -> None:
    rig.backend.sighted(f"{SMALL}-mine", ("sum/rough",), 0.0)
    rig.now = 10.0
    rig.seen.others = [Sighting(SMALL, f"{SMALL}-theirs", ("sum/fine",), START + 5), Sighting("other", "x", (), START)]
    rig.ask("sum")
    rig.thread.work()
    assert rig.seen.added == [Sighting(SMALL, f"{SMALL}-mine", ("sum/rough",), START)]
    rig.activity.look()
    assert rig.backend.status().resident == {"sum/rough": 1, "sum/fine": 1}
    assert set(rig.snapshots.view()[1].tier(SMALL).environments) == {f"{SMALL}-mine", f"{SMALL}-theirs"}
    rig.now = 70.0
    rig.snapshots.emit(EnvironmentReady(SMALL, f"{SMALL}-mine", ("sum/rough",), 65.0))
    rig.ask("sum")
    rig.thread.work()
    assert [seen.at for seen in rig.seen.added[1:]] == [START + 65]
