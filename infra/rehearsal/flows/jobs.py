"""What comes of jobs that a deployed stack is given, through its queue."""

from __future__ import annotations

import time
from functools import partial

from infra.rehearsal.home import TASK
from infra.rehearsal.stage import FEW, MANY, Stage, check
from registry.jobs import claim
from registry.stores.dynamodb_jobs import DynamoJobs
from registry.stores.job_parts import BucketParts

HELD_S = 10.0
"""For which somebody holds a job: longer than the queue takes to hand it over once more."""


def answer_later(stage: Stage) -> None:
    """Jobs are made through the queue, one by its own item and one by objects beside it, and each key's once."""
    stage.account.empty("RECEIPTKEY")
    stage.account.renew("ApiFunction", "JobsFunction")
    key = {"idempotency-key": f"{time.time_ns()}"}
    path = f"/v1/tasks/{TASK}/jobs"
    small = stage.ask("POST", path, stage.inputs(), status=202, **key)
    check(stage.ask("POST", path, stage.inputs(), status=202, **key)["id"] == small["id"], small)
    large = stage.ask("POST", path, stage.inputs(MANY), status=202)
    for job, rows in ((small, FEW), (large, MANY)):
        done = stage.settled(job)
        check(done["state"] == "succeeded", done)
        check(done["result"]["outputs"]["side"] == stage.sides[:rows].tolist(), done)
    listed = {job["id"] for job in stage.ask("GET", "/v1/jobs")["jobs"]}
    check({small["id"], large["id"]} <= listed, listed)
    stage.account.check()


def cancel(stage: Stage) -> None:
    """A job that waits is cancelled."""
    with stage.held("JobsQueue"):
        job = stage.ask("POST", f"/v1/tasks/{TASK}/jobs", stage.inputs(), status=202)
        check(stage.ask("DELETE", f"/v1/jobs/{job['id']}")["state"] == "cancelled", job)
    stage.account.check()


def take_over(stage: Stage) -> None:
    """A job that somebody held and left is made when their time is over, and not when the queue's is."""
    bucket, path = stage.account.stack.outputs["BucketName"], f"/v1/tasks/{TASK}/jobs"
    stage.account.renew("JobsFunction")
    stage.settled(stage.ask("POST", path, stage.inputs(), status=202))  # the function has started
    with stage.held("JobsQueue"):
        job = stage.ask("POST", path, stage.inputs(), status=202)
        store = DynamoJobs(stage.table, BucketParts(bucket))
        store.move("public", job["id"], partial(claim, holder="somebody", lease_s=HELD_S))
    check(stage.settled(job)["state"] == "succeeded", job)
    stage.account.check()
