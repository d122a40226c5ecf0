"""What every log of generations keeps to, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry.errors import InvalidValue, NotFound
from registry.generations import Generation, GenerationLog, GenerationState
from registry.model import Recipe
from registry.stores.dynamodb_generations import DynamoGenerations
from registry.stores.generations import SqliteGenerations

NOW = 1_790_000_000.0


@dataclass
class Clock:
    """Moves by a second with each look."""

    now: float = NOW

    def __call__(self) -> float:
        self.now += 1
        return self.now

    def iso(self) -> str:
        return iso(self())


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def recipe(percent: int) -> Recipe:
    return Recipe("trees", "forest", (("percent", str(percent)),))


def queued(log: GenerationLog, percent: int, task: str = "t") -> Generation:
    return log.queue(task, f"trees-{percent}", f"trees-{percent}", recipe(percent), basis="b", tier="lambda", rows=4)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "dynamodb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Callable[[], GenerationLog]:
    """Opens the same log once more, as another environment would."""
    if request.param == "sqlite":
        return lambda: SqliteGenerations(tmp_path / "generations.db", now=clock.iso)
    table = request.getfixturevalue("table")
    return lambda: DynamoGenerations(table, wall=clock)


def test_a_new_log_is_empty(log: GenerationLog) -> None:
    assert log.generations() == ()
    for id_ in ("", "nobody", "ACTIVE#"):
        with pytest.raises(NotFound):
            log.generation(id_)


def test_what_is_queued_is_there_for_everybody_newest_first(log: GenerationLog, other: GenerationLog) -> None:
    first, second = queued(log, 50), queued(other, 25)
    assert log.generations() == other.generations() == (second, first)
    assert log.generation(second.id) == second
    assert (first.state, first.tier, first.rows, first.recipe) == (GenerationState.QUEUED, "lambda", 4, recipe(50))


def test_one_generation_for_one_recipe_while_it_is_under_way(log: GenerationLog, other: GenerationLog) -> None:
    first = queued(log, 50)
    assert queued(other, 50) == first
    assert queued(other, 50, task="u").id != first.id
    running = log.move(first.id, GenerationState.RUNNING)
    assert queued(other, 50) == running
    log.move(first.id, GenerationState.PUBLISHED)
    assert queued(other, 50).id != first.id


def test_states_follow_one_another_and_are_dated(log: GenerationLog) -> None:
    made = queued(log, 50)
    running = log.move(made.id, GenerationState.RUNNING)
    ended = log.move(made.id, GenerationState.DROPPED, "no better")
    assert (ended.state, ended.reason) == (GenerationState.DROPPED, "no better")
    assert made.queued_at < str(running.started_at) < str(ended.ended_at)
    assert log.generation(made.id) == ended


@pytest.mark.parametrize("passing", [True, False])
def test_whether_what_it_failed_of_passes_is_kept(log: GenerationLog, other: GenerationLog, passing: bool) -> None:
    made = queued(log, 50)
    log.move(made.id, GenerationState.RUNNING)
    ended = log.move(made.id, GenerationState.FAILED, "why", passing=passing)
    assert (ended.passing, other.generations()) == (passing, (ended,))


def test_impossible_steps_change_nothing(log: GenerationLog) -> None:
    made = queued(log, 50)
    with pytest.raises(InvalidValue, match="only running may follow"):
        log.move(made.id, GenerationState.PUBLISHED)
    with pytest.raises(NotFound):
        log.move("nobody", GenerationState.RUNNING)
    assert log.generation(made.id) == made


def test_what_was_left_running_is_tried_once_more(log: GenerationLog, other: GenerationLog) -> None:
    made, waiting = queued(log, 50), queued(log, 25)
    for state, restarts in ((GenerationState.QUEUED, 1), (GenerationState.FAILED, 1)):
        log.move(made.id, GenerationState.RUNNING)
        other.recover()
        found = log.generation(made.id)
        assert (found.state, found.restarts) == (state, restarts)
    assert found.reason == "its process ended twice before it was done"
    assert log.generation(waiting.id) == waiting
    assert queued(log, 50).id != made.id


def test_only_what_was_started_before_a_time_is_given_up(log: GenerationLog, clock: Clock) -> None:
    old, new = queued(log, 50), queued(log, 25)
    log.move(old.id, GenerationState.RUNNING)
    clock.now += 900
    between = iso(clock.now)
    log.move(new.id, GenerationState.RUNNING)
    log.recover(between)
    assert [log.generation(each.id).state for each in (old, new)] == [GenerationState.QUEUED, GenerationState.RUNNING]


def test_of_many_who_start_one_one_does(reopen: Callable[[], GenerationLog], log: GenerationLog) -> None:
    barrier, started, refused = threading.Barrier(4), [], []
    made = queued(log, 50)

    def work() -> None:
        mine = reopen()
        barrier.wait(timeout=30)
        try:
            started.append(mine.move(queued(mine, 50).id, GenerationState.RUNNING))
        except InvalidValue as fault:
            refused.append(fault)
        mine.close()

    running = [threading.Thread(target=work) for _ in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    assert [each.id for each in started] == [made.id]
    assert len(refused) == 3
    assert len(log.generations()) == 1
