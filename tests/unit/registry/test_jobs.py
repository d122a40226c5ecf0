"""What a job may become, and who may say so."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from registry.documents import from_document, to_document
from registry.errors import ClaimLost, InvalidValue, JobEnded
from registry.jobs import (
    ABANDONED,
    AGAIN_S,
    ATTEMPTS,
    KEPT_S,
    LONGEST_LEASE_S,
    LONGEST_PAUSE_S,
    OPEN,
    SKEW_S,
    TRANSITIONS,
    Job,
    JobError,
    JobState,
    Step,
    cancel,
    claim,
    extend,
    fail,
    give_back,
    is_job_id,
    job_id,
    send_again,
    submitted,
    succeed,
)

QUEUED = submitted("0" * 31, "acme", "digits", "d", 100.0)
RUNNING = claim(QUEUED, 101.0, holder="w", lease_s=30.0)
WHY = JobError("unavailable", "every placement failed")


def test_every_state_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert {JobState.QUEUED, JobState.RUNNING} == OPEN


STEPS: dict[str, tuple[Step, JobState]] = {
    "succeed": (partial(succeed, holder="w"), JobState.SUCCEEDED),
    "fail": (partial(fail, holder="w", error=WHY), JobState.FAILED),
    "give_back": (partial(give_back, holder="w", error=WHY, counted=True), JobState.QUEUED),
    "cancel": (cancel, JobState.CANCELLED),
    "extend": (partial(extend, holder="w", lease_s=30.0), JobState.RUNNING),
}


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("name", STEPS)
def test_a_step_leads_where_the_table_says_or_raises(state: JobState, name: str) -> None:
    step, following = STEPS[name]
    job = replace(RUNNING, state=state)
    try:
        moved = step(job, 110.0)
    except (ClaimLost, JobEnded, InvalidValue):
        assert name not in ("cancel",) or state not in OPEN
        return
    assert moved.state is following
    assert following in TRANSITIONS[state] or moved == job


def test_a_claim_is_held_until_its_lease_runs_out() -> None:
    assert (RUNNING.state, RUNNING.holder, RUNNING.attempts, RUNNING.started_at) == (JobState.RUNNING, "w", 1, 101.0)
    assert claim(RUNNING, 130.9, holder="x", lease_s=30.0) == RUNNING
    longer = extend(RUNNING, 120.0, holder="w", lease_s=30.0)
    assert claim(longer, 131.0, holder="x", lease_s=30.0) == longer
    again = claim(longer, 150.0, holder="x", lease_s=30.0)
    assert (again.holder, again.attempts, again.lease_until) == ("x", 2, 180.0)


def test_no_wait_is_longer_than_it_may_be() -> None:
    held = claim(QUEUED, 101.0, holder="w", lease_s=1e6)
    assert held.lease_until == extend(held, 101.0, holder="w", lease_s=1e6).lease_until == 101.0 + LONGEST_LEASE_S
    paused = give_back(held, 102.0, holder="w", error=WHY, pause_s=1e6)
    assert paused.lease_until == 102.0 + LONGEST_PAUSE_S
    for job, longest_s in ((held, LONGEST_LEASE_S), (paused, LONGEST_PAUSE_S)):
        latest = job.lease_until - longest_s - SKEW_S
        assert [job.waits(now) for now in (latest - 0.1, latest, job.lease_until - 0.1, job.lease_until)] == [
            True,
            False,
            False,
            True,
        ]


def test_who_lost_a_claim_says_nothing_more() -> None:
    again = claim(RUNNING, 200.0, holder="x", lease_s=30.0)
    for step, _ in STEPS.values():
        if step is cancel:
            continue
        with pytest.raises(ClaimLost, match="not held"):
            step(again, 201.0)


def test_what_was_said_once_may_be_said_again() -> None:
    done = succeed(RUNNING, 105.0, holder="w")
    assert succeed(done, 106.0, holder="w") == done
    assert (done.ended_at, done.expires_at) == (105.0, 105.0 + KEPT_S)
    with pytest.raises(ClaimLost):
        succeed(done, 106.0, holder="x")
    with pytest.raises(ClaimLost):
        fail(done, 106.0, holder="w", error=WHY)


def test_a_job_that_is_abandoned_again_and_again_fails() -> None:
    job, now = QUEUED, 100.0
    for attempt in range(ATTEMPTS):
        job = claim(job, now, holder=f"w{attempt}", lease_s=30.0)
        assert job.attempts == attempt + 1
        now += 30.0
    ended = claim(job, now, holder="last", lease_s=30.0)
    assert (ended.state, ended.error, ended.ended_at) == (JobState.FAILED, ABANDONED, now)


def test_what_is_given_back_counts_unless_it_could_not_begin() -> None:
    back = partial(give_back, holder="w", error=WHY)
    assert (back(RUNNING, 105.0, counted=True).attempts, back(RUNNING, 105.0, counted=False).attempts) == (1, 0)
    paused = back(RUNNING, 105.0, pause_s=5.0)
    assert [claim(paused, now, holder="x", lease_s=9.0).state for now in (109.9, 110.0)] == [
        JobState.QUEUED,
        JobState.RUNNING,
    ]
    last = replace(RUNNING, attempts=ATTEMPTS)
    assert back(last, 105.0, counted=False).state is JobState.QUEUED
    ended = back(last, 105.0, counted=True)
    assert (ended.state, ended.error) == (JobState.FAILED, WHY)


@pytest.mark.parametrize("counted", [True, False])
def test_what_was_given_back_and_not_heard_of_may_be_given_back_again(counted: bool) -> None:
    back = partial(give_back, holder="w", error=WHY, counted=counted, pause_s=5.0)
    given = back(RUNNING, 105.0)
    assert back(given, 106.0) == given
    for lost in (claim(given, 111.0, holder="x", lease_s=9.0), cancel(given, 106.0)):
        with pytest.raises(ClaimLost):
            back(lost, 112.0)


def test_what_has_ended_cannot_be_cancelled_and_what_is_cancelled_stays_so() -> None:
    cancelled = cancel(QUEUED, 102.0)
    assert (cancelled.state, cancelled.ended_at) == (JobState.CANCELLED, 102.0)
    assert cancel(cancelled, 103.0) == cancelled
    assert cancel(RUNNING, 103.0).state is JobState.CANCELLED
    with pytest.raises(JobEnded, match="has succeeded"):
        cancel(succeed(RUNNING, 102.0, holder="w"), 103.0)


def test_only_what_has_waited_long_is_sent_again_and_once() -> None:
    late = QUEUED.submitted_at + AGAIN_S
    assert send_again(QUEUED, late - 0.1) == QUEUED
    sent = send_again(QUEUED, late)
    assert sent.sent_at == late
    assert send_again(sent, late + 1.0) == sent
    assert send_again(replace(RUNNING, lease_until=late + 9.0), late + 1.0).sent_at == QUEUED.sent_at
    assert send_again(RUNNING, late).sent_at == late
    assert send_again(cancel(QUEUED, 101.0), late).sent_at == QUEUED.sent_at
    # By a clock that has been set back since.
    assert send_again(sent, QUEUED.submitted_at).sent_at == QUEUED.submitted_at


def test_a_job_is_forgotten_in_time() -> None:
    assert not QUEUED.expired(QUEUED.submitted_at + KEPT_S - 1.0)
    assert QUEUED.expired(QUEUED.submitted_at + KEPT_S)


def test_ids_sort_by_time() -> None:
    ids = [job_id(now, bytes(10)) for now in (0.001, 1.0, 1.8e9, 1.8e9 + 0.001)]
    assert ids == sorted(ids)
    assert all(is_job_id(id_) for id_ in ids)
    assert not any(is_job_id(text) for text in ("", "x" * 31, ids[0] + "0", "../" + ids[0][3:], ids[0] + "\n"))


def test_jobs_are_documents() -> None:
    for job in (QUEUED, RUNNING, fail(RUNNING, 102.0, holder="w", error=WHY)):
        assert from_document(Job, to_document(job)) == job
