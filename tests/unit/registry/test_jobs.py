"""What may follow on what, and which questions are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.documents import from_document, to_document
from registry.errors import InvalidValue
from registry.jobs import ACTIVE, TRANSITIONS, Asked, Job, JobState
from registry.model import Recipe, Slo

JOB = Job("1", "t", "trees-5", Recipe("trees", "f", (("percent", "5"),)), "trees-5", "b", JobState.QUEUED, "now")


def test_the_table_knows_every_state() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert {JobState.QUEUED, JobState.RUNNING} == ACTIVE


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("following", JobState)
def test_only_what_the_table_says_may_follow(state: JobState, following: JobState) -> None:
    job = replace(JOB, state=state)
    if following in TRANSITIONS[state]:
        job.check(following)
    else:
        with pytest.raises(InvalidValue, match=f"job 1: is {state} and cannot become {following}"):
            job.check(following)


def test_equal_questions_have_equal_keys() -> None:
    asked = Asked("t", Slo(latency_ms=5.0), 2)
    assert asked.key == Asked("t", Slo(latency_ms=5.0), 2).key
    assert len({asked.key, replace(asked, rows=3).key, replace(asked, task="u").key, Asked("t", Slo(), 2).key}) == 4


def test_jobs_and_questions_are_documents() -> None:
    for value in (JOB, Asked("t", Slo(latency_ms=5.0), 2)):
        assert from_document(type(value), to_document(value)) == value
