"""The queue keeps its order and its states, for several processes and over restarts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from registry.errors import InvalidValue, NotFound, Unavailable
from registry.generations import Asked, Generation, GenerationState
from registry.model import Recipe, Slo
from registry.stores import generations as module
from registry.stores.generations import SqliteGenerations

FAST, SLOW = Asked("t", Slo(latency_ms=1.0)), Asked("t", Slo(latency_ms=9.0), 4)


def recipe(percent: int) -> Recipe:
    return Recipe("trees", "forest", (("percent", str(percent)),))


def queued(generations: SqliteGenerations, percent: int, task: str = "t") -> Generation:
    return generations.queue(task, f"trees-{percent}", f"trees-{percent}", recipe(percent), basis="b")


@pytest.fixture
def generations(tmp_path: Path) -> Iterator[SqliteGenerations]:
    ticks = count()
    opened = SqliteGenerations(tmp_path / "jobs.db", now=lambda: f"t{next(ticks)}")
    yield opened
    opened.close()


def test_questions_wait_until_they_are_answered(generations: SqliteGenerations) -> None:
    generations.ask(FAST, SLOW, FAST)
    assert generations.pending() == (FAST, SLOW)
    generations.answer(FAST, None)
    assert generations.pending() == (SLOW,)
    generations.ask(FAST)
    assert set(generations.pending()) == {FAST, SLOW}


def test_generations_run_in_their_order_to_their_end(generations: SqliteGenerations) -> None:
    first, second = queued(generations, 50), queued(generations, 25)
    assert [generation.id for generation in generations.generations()] == [second.id, first.id]
    running = generations.start_next()
    assert running is not None
    assert (running.id, running.state, running.started_at) == (first.id, GenerationState.RUNNING, "t2")
    ended = generations.move(first.id, GenerationState.DROPPED, "no better")
    assert (ended.state, ended.reason, ended.ended_at) == (GenerationState.DROPPED, "no better", "t3")
    assert generations.generation(first.id) == ended
    assert generations.start_next() == generations.generation(second.id)
    assert generations.start_next() is None


def test_one_generation_for_one_recipe_while_it_is_under_way(generations: SqliteGenerations) -> None:
    first = queued(generations, 50)
    assert queued(generations, 50) == first
    assert queued(generations, 50, task="u").id != first.id
    generations.start_next()
    assert queued(generations, 50).id == first.id
    generations.move(first.id, GenerationState.PUBLISHED)
    assert queued(generations, 50).id != first.id


def test_who_asked_learns_of_the_generation_while_it_is_under_way(generations: SqliteGenerations) -> None:
    generations.ask(FAST, SLOW)
    generation = queued(generations, 50)
    generations.answer(FAST, generation)
    generations.answer(SLOW, None)
    assert generations.under_way() == {FAST.key: generation}
    generations.start_next()
    assert generations.under_way()[FAST.key].state is GenerationState.RUNNING
    generations.move(generation.id, GenerationState.FAILED, "why")
    assert generations.under_way() == {}


def test_impossible_steps_change_nothing(generations: SqliteGenerations) -> None:
    generation = queued(generations, 50)
    with pytest.raises(InvalidValue, match="only running may follow"):
        generations.move(generation.id, GenerationState.PUBLISHED)
    with pytest.raises(NotFound):
        generations.move("nobody", GenerationState.RUNNING)
    with pytest.raises(NotFound):
        generations.generation("nobody")
    assert generations.generation(generation.id) == generation


def test_the_queue_survives_and_what_was_running_is_tried_once_more(
    generations: SqliteGenerations, tmp_path: Path
) -> None:
    generation = queued(generations, 50)
    generations.ask(SLOW)
    for restarts in (1, 2):
        assert generations.start_next() is not None
        again = SqliteGenerations(tmp_path / "jobs.db")
        assert again.pending() == (SLOW,)
        again.recover()
        found = again.generation(generation.id)
        again.close()
        if restarts == 1:
            assert (found.state, found.restarts) == (GenerationState.QUEUED, 1)
    assert (found.state, found.reason) == (GenerationState.FAILED, "its process ended twice before it was done")
    assert found.ended_at is not None


def test_two_processes_never_start_the_same_generation(generations: SqliteGenerations, tmp_path: Path) -> None:
    made = {queued(generations, percent).id for percent in (10, 20)}
    other = SqliteGenerations(tmp_path / "jobs.db")
    first, second = generations.start_next(), other.start_next()
    other.close()
    assert first is not None
    assert second is not None
    assert {first.id, second.id} == made


def test_the_oldest_are_forgotten_but_none_that_is_under_way(
    generations: SqliteGenerations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    waiting = queued(generations, 1)
    for percent in range(2, 9):
        generation = queued(generations, percent)
        while (running := generations.start_next()) and running.id != generation.id:
            generations.move(running.id, GenerationState.FAILED)
        generations.move(generation.id, GenerationState.PUBLISHED)
        generations.ask(Asked("t", Slo(latency_ms=float(percent))))
    assert generations.generation(queued(generations, 9).id).state is GenerationState.QUEUED
    assert len(generations.generations()) <= 4
    assert len(generations.pending()) == 3
    with pytest.raises(NotFound):
        generations.generation(waiting.id)


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Unavailable, match=r"jobs\.db"):
        SqliteGenerations(tmp_path / "jobs.db")
