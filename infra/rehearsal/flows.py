"""What publishers, callers, queues and schedules do with a deployed stack, each as a check of what came of it.

A flow begins with what it needs made so, renews the environments that would remember, and raises NotDone where what it
is for is not done, or where anybody is denied anything. Each may run any number of times, in any order, after `push`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from click.testing import CliRunner

from cli.main import main
from gateway.capacity.arrivals import minute_of
from infra.rehearsal.account import Account, NotDone
from infra.rehearsal.home import TASK
from registry.activity import Usage
from registry.catalogue import Catalogue
from registry.errors import Conflict
from registry.jobs import claim
from registry.model import Accuracy, Slo
from registry.sightings import Sighting
from registry.store import update
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_activity import DynamoActivity
from registry.stores.dynamodb_jobs import DynamoJobs
from registry.stores.dynamodb_sightings import DynamoSightings
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.job_parts import BucketParts

TIER = "lambda-1769"
FEW, MANY = 1, 64
"""Rows: a job's own item holds a body of FEW, and neither a body nor a result of MANY."""

LATE_MS = 500.0
"""Sooner than a worker starts, and later than one that has started answers."""

HELD_S = 10.0
"""For which somebody holds a job: longer than the queue takes to hand it over once more."""

EVALUATED = Accuracy(1.0, 0.99, 1.0, 400, "wilson")

# In Lambda's one writable folder, by the name that the worker knows.
WORKER_CACHE = Path("/tmp/modelless-blobs")  # noqa: S108

Flow = Callable[["Stage"], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """An account with a stack, and a home in which TASK is registered."""

    account: Account
    home: Path
    rows: np.ndarray
    sides: np.ndarray
    """The right answer to each."""

    def inputs(self, rows: int = FEW) -> dict[str, Any]:
        """A request's body."""
        return {"inputs": {"x": self.rows[:rows].tolist()}}

    def modelless(self, *arguments: str, user: str = "publisher") -> dict[str, Any]:
        """What a command of ours prints, run by this user."""

        said = CliRunner().invoke(main, [*arguments, "--json"], env=dict(self.account.users[user]))
        if said.exit_code:
            raise NotDone(f"modelless {' '.join(arguments)}: {said.output}{said.exception or ''}")
        document: dict[str, Any] = json.loads(said.stdout)
        return document

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str) -> dict[str, Any]:
        """What the front door answers the caller; raises NotDone for another status."""
        with self.account.front("caller") as front:
            answer = front.request(method, path, json=body, headers=headers)
        if answer.status_code != status:
            raise NotDone(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        document: dict[str, Any] = answer.json()
        return document

    def predict(self, body: Any) -> dict[str, Any]:
        """The answer to a request for the task, checked."""
        answer = self.ask("POST", f"/v1/tasks/{TASK}/predict", body)
        got = answer["outputs"]["side"]
        check(got == self.sides[: len(got)].tolist(), answer)
        return answer

    def settled(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The job once it has ended."""

        def ended() -> dict[str, Any] | None:
            now = self.ask("GET", f"/v1/jobs/{job['id']}")
            return now if now["state"] in ("succeeded", "failed", "cancelled") else None

        return self.account.eventually(ended)

    @contextmanager
    def held(self, queue: str) -> Iterator[str]:
        """The URL of a queue that hands nothing over in the meantime."""
        client, url = self.account.clients["lambda"], self.account.stack.outputs[f"{queue}Url"]
        name = url.rpartition("/")[2]
        mappings = client.list_event_source_mappings()["EventSourceMappings"]
        (mapping,) = (m["UUID"] for m in mappings if m["EventSourceArn"].endswith(f":{name}"))
        client.update_event_source_mapping(UUID=mapping, Enabled=False)
        try:
            yield url
        finally:
            client.update_event_source_mapping(UUID=mapping, Enabled=True)


def check(holds: object, why: Any) -> None:
    """Raise NotDone unless it holds."""
    if not holds:
        raise NotDone(str(why)[:2000])


# ---------------------------------------------------------------- publishers


def push(stage: Stage) -> None:
    """A home's task is uploaded to an empty bucket, measured through a worker, and published."""
    account = stage.account
    bucket = account.stack.outputs["BucketName"]
    forget_blobs(account)
    for found in account.clients["s3"].list_objects_v2(Bucket=bucket, Prefix="blobs/").get("Contents", ()):
        account.clients["s3"].delete_object(Bucket=bucket, Key=found["Key"])
    account.renew("Worker1769Function")
    options = ("--stack", account.stack.name, "--tier", TIER, "--quick", "--fresh", "--home", str(stage.home))
    done = stage.modelless("push", TASK, *options)
    check(done["blobs"]["uploaded"] > 0 and done["tasks"][0]["measured"], done)
    account.check()


def roll_back(stage: Stage) -> None:
    """The newest release is taken back by another that has the facts of the one before it."""
    store = DynamoStore(stage.account.stack.outputs["TableName"])
    head = store.publish(store.load()).version
    check(stage.modelless("rollback", "--stack", stage.account.stack.name)["version"] == head + 1, head)
    stage.account.check()


def lose_a_race(stage: Stage) -> None:
    """Of two who publish at once one is told, and leaves nothing behind."""
    table, client = stage.account.stack.outputs["TableName"], stage.account.client("publisher", "dynamodb")
    rival, base = DynamoStore(table), DynamoStore(table).load()

    def before(params: Mapping[str, Any], **_: Any) -> None:
        if params["Item"]["pk"] == {"S": "CATALOGUE"}:
            client.meta.events.unregister("provide-client-params.dynamodb.PutItem", before)
            rival.publish(base)

    client.meta.events.register("provide-client-params.dynamodb.PutItem", before)
    snapshots = len(stage.account.items("SNAPSHOT#"))
    try:
        DynamoStore(table, client=client).publish(base)
    except Conflict:
        check(len(stage.account.items("SNAPSHOT#")) == snapshots + 4, "what lost has left a snapshot")
        return stage.account.check()
    raise NotDone("both have published")


# ---------------------------------------------------------------- callers


def predict(stage: Stage) -> None:
    """A signed request is answered by a worker that reads the artifact first."""
    stage.account.empty("RECEIPTKEY")
    forget_blobs(stage.account)
    stage.account.renew("ApiFunction", "Worker1769Function")
    stage.predict(stage.inputs())
    stage.account.check()


def predict_from_what_is_left(stage: Stage) -> None:
    """An artifact whose objects' versions are gone is read by their keys."""
    s3, bucket = stage.account.clients["s3"], stage.account.stack.outputs["BucketName"]
    for version in s3.list_object_versions(Bucket=bucket, Prefix="blobs/").get("Versions", ()):
        if version["IsLatest"]:
            s3.copy_object(
                Bucket=bucket,
                Key=version["Key"],
                CopySource={"Bucket": bucket, "Key": version["Key"]},
                MetadataDirective="REPLACE",
            )
        s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    predict(stage)


def plan(stage: Stage) -> None:
    """The api says what it would choose."""
    stage.account.renew("ApiFunction")
    check(stage.ask("POST", f"/v1/tasks/{TASK}/plan", {"slo": {"objective": "cost"}})["chosen"]["tier"] == TIER, "")
    stage.account.check()


def explain(stage: Stage) -> None:
    """The scheduler says what it would choose."""
    stage.account.renew("SchedulerFunction")
    decision = stage.account.invoke("SchedulerFunction", {"task": TASK, "slo": {"objective": "cost"}})
    check(decision["chosen"]["tier"] == TIER, decision)
    stage.account.check()


def be_counted(stage: Stage) -> None:
    """What is asked for, and by whom, is written down beside the answers."""
    account = stage.account
    account.empty("ACTIVITY#", "QUOTA#")
    account.renew("ApiFunction")
    stage.predict(stage.inputs())

    def counted() -> bool:
        with account.front("caller") as front:
            for _ in range(20):  # ten within ten seconds are told to others
                check(front.get("/v1/tasks").status_code == 200, "tasks are not listed")
        return bool(account.items("ACTIVITY#") and account.items("QUOTA#"))

    account.eventually(counted)
    account.check()


def be_seen(stage: Stage) -> None:
    """What a worker holds is written down beside the answers, twenty seconds after the first."""
    account = stage.account
    account.empty("SEEN#")
    account.renew("ApiFunction")

    def seen() -> bool:
        stage.predict(stage.inputs())
        return bool(account.items("SEEN#"))

    account.eventually(seen)
    account.check()


def put_inputs(stage: Stage) -> None:
    """Inputs that are too large to send are put where the api says, and read from there."""
    data = json.dumps(stage.inputs()["inputs"]).encode()
    stage.account.renew("ApiFunction")
    offer = stage.ask("POST", "/v1/inbox", {"bytes": len(data)})
    put = httpx.put(offer["url"], content=data, headers=offer["headers"], verify=stage.account.trust)
    check(put.status_code == 200, put.text)
    stage.predict({"inputs_ref": offer["inputs_ref"]})
    stage.account.check()


# ---------------------------------------------------------------- jobs


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
    outputs, path = stage.account.stack.outputs, f"/v1/tasks/{TASK}/jobs"
    stage.account.renew("JobsFunction")
    stage.settled(stage.ask("POST", path, stage.inputs(), status=202))  # the function has started
    with stage.held("JobsQueue"):
        job = stage.ask("POST", path, stage.inputs(), status=202)
        store = DynamoJobs(DynamoTable(outputs["TableName"]), BucketParts(outputs["BucketName"]))
        store.move("public", job["id"], partial(claim, holder="somebody", lease_s=HELD_S))
    check(stage.settled(job)["state"] == "succeeded", job)
    stage.account.check()


# ---------------------------------------------------------------- judgements


def judge(stage: Stage) -> None:
    """A judgement moves an accuracy; another one within the minute is looked at later."""
    account = stage.account
    account.empty("JUDGED#", "RECEIPTKEY")
    have_evaluated(stage)
    account.renew("ApiFunction", "FeedbackFunction")
    give_judgement(stage)
    account.eventually(lambda: accuracy_rows(stage) != EVALUATED.rows)
    account.eventually(lambda: not [i for i in account.items("JUDGED#") if i["sk"]["S"].startswith("MARK#")])
    give_judgement(stage)
    url, name = account.stack.outputs["FeedbackQueueUrl"], "ApproximateNumberOfMessagesDelayed"

    def appointed() -> bool:
        waiting = account.clients["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"]
        return int(waiting[name]) > 0

    account.eventually(appointed)
    account.clients["sqs"].purge_queue(QueueUrl=url)
    have_evaluated(stage)
    account.check()


def have_evaluated(stage: Stage) -> None:
    """Have it that the task's variant was evaluated, and never judged."""
    store = DynamoStore(stage.account.stack.outputs["TableName"])
    update(store, lambda base: base.with_variants(replace(base.variants_of(TASK)[0], accuracy=EVALUATED)))


def give_judgement(stage: Stage) -> None:
    """One that says that an answer is wrong in part."""
    decision = stage.predict(stage.inputs(40))["decision"]
    check(decision["receipt"], decision)
    body = {
        "receipt": decision["receipt"],
        "expected": [*(1 - stage.sides[:10]).tolist(), *stage.sides[10:40].tolist()],
    }
    stage.ask("POST", f"/v1/tasks/{TASK}/feedback", body, status=202)


def accuracy_rows(stage: Stage) -> int:
    """How many rows are behind the task's accuracy in the newest release."""

    (variant,) = DynamoStore(stage.account.stack.outputs["TableName"]).load().variants_of(TASK)
    return variant.accuracy.rows


# ---------------------------------------------------------------- capacity


def warm(stage: Stage) -> None:
    """What is asked for every minute is loaded before it is asked for again, and that it is there is written down."""
    ask_every_minute(stage)

    stage.account.renew("PrewarmFunction", "Worker1769Function")
    said = stage.account.invoke("PrewarmFunction", {})
    check(("warm", TIER, "done") in outcomes(said), said)
    check(stage.account.items("SEEN#"), "nobody was told what is warm")
    stage.account.check()


def unload(stage: Stage) -> None:
    """What a worker holds and nobody asks for is unloaded for what is asked for."""
    account = stage.account
    table = DynamoTable(account.stack.outputs["TableName"])
    with another_task(stage) as other:
        ask_every_minute(stage, other)
        stage.predict(stage.inputs())
        worker = json.loads(account.stack.outputs["Workers"])[TIER]
        held = account.run(worker, {"kind": "status"})
        check(held["resident"], held)
        DynamoSightings(table).add(
            [Sighting(TIER, f"{TIER}-{held['environment']}", tuple(held["resident"]), time.time())]
        )
        account.renew("EvictFunction")
        said = account.invoke("EvictFunction", {})
        check(("unload", TIER, "done") in outcomes(said), said)
        check(not account.run(worker, {"kind": "status"})["resident"], "it is still there")
    account.check()


@contextmanager
def another_task(stage: Stage) -> Iterator[str]:
    """The name of one that is like the first, when a copy of either's variant takes most of a worker's memory."""
    store = DynamoStore(stage.account.stack.outputs["TableName"])

    def made(base: Catalogue) -> Catalogue:
        (variant,), (placement,) = base.variants_of(TASK), base.placements_of(TASK)
        profile = replace(base.profiles[placement.id], memory_mb=1200.0)
        other = replace(variant, task="other")
        there = replace(placement, variant=other.id)
        return (
            base.with_tasks(replace(base.tasks[TASK], name="other"))
            .with_variants(other)
            .with_placements(there)
            .with_profiles(profile, replace(profile, placement=there.id))
        )

    before = store.head()
    update(store, made)
    try:
        yield "other"
    finally:
        store.rollback(before)


def ask_every_minute(stage: Stage, task: str = TASK) -> None:
    """Have it that a task was asked for in each of the last minutes, and that no minute is taken care of."""
    stage.account.empty("ACTIVITY#", "CAPACITY", "SEEN#")
    now, log = minute_of(time.time()), DynamoActivity(DynamoTable(stage.account.stack.outputs["TableName"]))
    for minute in range(now - 30, now):
        log.add(minute, [Usage(task, 3, 3, Slo(latency_ms=LATE_MS))])


def outcomes(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What was done of a plan, and where; raises NotDone where the minute was not claimed."""
    check(document["claimed"], document)
    return [(a["action"], a.get("tier", ""), a["result"]) for a in document["actions"]]


def forget_blobs(account: Account) -> None:
    """Have workers read the bucket: environments here share one /tmp, as Lambda's do not."""
    listed = account.clients["s3"].list_objects_v2(Bucket=account.stack.outputs["BucketName"], Prefix="blobs/")
    for found in listed.get("Contents", ()):
        (WORKER_CACHE / found["Key"].removeprefix("blobs/")).unlink(missing_ok=True)


FLOWS: Mapping[str, Flow] = {
    flow.__name__: flow
    for flow in (
        push,
        roll_back,
        lose_a_race,
        predict,
        plan,
        explain,
        be_counted,
        be_seen,
        put_inputs,
        answer_later,
        cancel,
        take_over,
        judge,
        warm,
        unload,
        predict_from_what_is_left,
    )
}
"""In the order of a first day."""
