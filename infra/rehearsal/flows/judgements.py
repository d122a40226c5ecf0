"""What comes of judgements that a deployed stack is given, through its queue."""

from __future__ import annotations

from dataclasses import replace

from infra.rehearsal.home import TASK
from infra.rehearsal.stage import Stage, check
from registry.model import Accuracy
from registry.store import update

EVALUATED = Accuracy(1.0, 0.99, 1.0, 400, "wilson")


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
    update(stage.store, lambda base: base.with_variants(replace(base.variants_of(TASK)[0], accuracy=EVALUATED)))


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
    (variant,) = stage.store.load().variants_of(TASK)
    return variant.accuracy.rows
