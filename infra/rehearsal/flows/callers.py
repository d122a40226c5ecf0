"""What callers do with a deployed stack while they wait for the answer, and what is written down of it."""

from __future__ import annotations

import json

import httpx

from infra.rehearsal.home import TASK
from infra.rehearsal.stage import TIER, Stage, check, forget_blobs


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
