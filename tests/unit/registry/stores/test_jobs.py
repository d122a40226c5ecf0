"""The queue keeps its order and its states, for several processes and over restarts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from registry.errors import InvalidValue, NotFound, Unavailable
from registry.jobs import Asked, Job, JobState
from registry.model import Recipe, Slo
from registry.stores import jobs as module
from registry.stores.jobs import SqliteJobs

FAST, SLOW = Asked("t", Slo(latency_ms=1.0)), Asked("t", Slo(latency_ms=9.0), 4)


def recipe(percent: int) -> Recipe:
    return Recipe("trees", "forest", (("percent", str(percent)),))


def queued(jobs: SqliteJobs, percent: int, task: str = "t") -> Job:
    return jobs.queue(task, f"trees-{percent}", f"trees-{percent}", recipe(percent), basis="b")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[SqliteJobs]:
    ticks = count()
    opened = SqliteJobs(tmp_path / "jobs.db", now=lambda: f"t{next(ticks)}")
    yield opened
    opened.close()


def test_questions_wait_until_they_are_answered(jobs: SqliteJobs) -> None:
    jobs.ask(FAST, SLOW, FAST)
    assert jobs.pending() == (FAST, SLOW)
    jobs.answer(FAST, None)
    assert jobs.pending() == (SLOW,)
    jobs.ask(FAST)
    assert set(jobs.pending()) == {FAST, SLOW}


def test_jobs_run_in_their_order_to_their_end(jobs: SqliteJobs) -> None:
    first, second = queued(jobs, 50), queued(jobs, 25)
    assert [job.id for job in jobs.jobs()] == [second.id, first.id]
    running = jobs.start_next()
    assert running is not None
    assert (running.id, running.state, running.started_at) == (first.id, JobState.RUNNING, "t2")
    ended = jobs.move(first.id, JobState.DROPPED, "no better")
    assert (ended.state, ended.reason, ended.ended_at) == (JobState.DROPPED, "no better", "t3")
    assert jobs.job(first.id) == ended
    assert jobs.start_next() == jobs.job(second.id)
    assert jobs.start_next() is None


def test_one_job_for_one_recipe_while_it_is_under_way(jobs: SqliteJobs) -> None:
    first = queued(jobs, 50)
    assert queued(jobs, 50) == first
    assert queued(jobs, 50, task="u").id != first.id
    jobs.start_next()
    assert queued(jobs, 50).id == first.id
    jobs.move(first.id, JobState.PUBLISHED)
    assert queued(jobs, 50).id != first.id


def test_who_asked_learns_of_the_job_while_it_is_under_way(jobs: SqliteJobs) -> None:
    jobs.ask(FAST, SLOW)
    job = queued(jobs, 50)
    jobs.answer(FAST, job)
    jobs.answer(SLOW, None)
    assert jobs.under_way() == {FAST.key: job}
    jobs.start_next()
    assert jobs.under_way()[FAST.key].state is JobState.RUNNING
    jobs.move(job.id, JobState.FAILED, "why")
    assert jobs.under_way() == {}


def test_impossible_steps_change_nothing(jobs: SqliteJobs) -> None:
    job = queued(jobs, 50)
    with pytest.raises(InvalidValue, match="only running may follow"):
        jobs.move(job.id, JobState.PUBLISHED)
    with pytest.raises(NotFound):
        jobs.move("nobody", JobState.RUNNING)
    with pytest.raises(NotFound):
        jobs.job("nobody")
    assert jobs.job(job.id) == job


def test_the_queue_survives_and_what_was_running_is_tried_once_more(jobs: SqliteJobs, tmp_path: Path) -> None:
    job = queued(jobs, 50)
    jobs.ask(SLOW)
    for restarts in (1, 2):
        assert jobs.start_next() is not None
        again = SqliteJobs(tmp_path / "jobs.db")
        assert again.pending() == (SLOW,)
        again.recover()
        found = again.job(job.id)
        again.close()
        if restarts == 1:
            assert (found.state, found.restarts) == (JobState.QUEUED, 1)
    assert (found.state, found.reason) == (JobState.FAILED, "its process ended twice before it was done")
    assert found.ended_at is not None


def test_two_processes_never_start_the_same_job(jobs: SqliteJobs, tmp_path: Path) -> None:
    made = {queued(jobs, percent).id for percent in (10, 20)}
    other = SqliteJobs(tmp_path / "jobs.db")
    first, second = jobs.start_next(), other.start_next()
    other.close()
    assert first is not None
    assert second is not None
    assert {first.id, second.id} == made


def test_the_oldest_are_forgotten_but_none_that_is_under_way(jobs: SqliteJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    waiting = queued(jobs, 1)
    for percent in range(2, 9):
        job = queued(jobs, percent)
        while (running := jobs.start_next()) and running.id != job.id:
            jobs.move(running.id, JobState.FAILED)
        jobs.move(job.id, JobState.PUBLISHED)
        jobs.ask(Asked("t", Slo(latency_ms=float(percent))))
    assert jobs.job(queued(jobs, 9).id).state is JobState.QUEUED
    assert len(jobs.jobs()) <= 4
    assert len(jobs.pending()) == 3
    with pytest.raises(NotFound):
        jobs.job(waiting.id)


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Unavailable, match=r"jobs\.db"):
        SqliteJobs(tmp_path / "jobs.db")
