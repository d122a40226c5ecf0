"""Batches of judgements, as Lambda delivers them: kept once each, published once a minute, and no move is lost."""

from __future__ import annotations

import itertools
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from functions.aws.judging import LOOK, PUBLISH_S, TURN, Judging
from functions.aws.settings import FeedbackSettings
from optimizer.accuracy import share
from optimizer.evidence import pack
from registry.catalogue import Catalogue
from registry.errors import InvalidValue, Unavailable
from registry.judgements import Observation, to_message
from registry.model import Accuracy, Recipe, Task, TensorSpec, Variant
from registry.store import update
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_table import DynamoTable

TASK = Task("sum", (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "INT64", (-1,)),), "accuracy", judged="y")
LARGE = Variant("sum", "large", "blake3:a", Recipe("test"), share(97, 100))
NOW = 1_790_000_000.0


def observed(number: int, *, right: bool = False, rows: int = 8) -> str:
    hits = np.full(rows, right)
    evidence = pack("accuracy", hits, np.ones(rows, np.bool_))
    return to_message(Observation(f"d{number}", LARGE.id, LARGE.artifact, number, rows, evidence))


@dataclass
class Cloud:
    """The table, a queue whose delayed messages come when the clock says so, and environments that share them."""

    table: DynamoTable
    now: float = NOW
    delayed: deque[tuple[float, str]] = field(default_factory=deque)
    refuse: bool = False

    def send(self, body: str, *, delay_s: int = 0) -> None:
        if self.refuse:
            raise Unavailable("queue", "throttled")
        self.delayed.append((self.now + delay_s, body))

    def environment(self) -> Judging:
        settings = FeedbackSettings("facts", "https://queue")
        return Judging(settings, table=self.table, queue=self, wall=lambda: self.now)  # type: ignore[arg-type]

    def batch(self, *bodies: str, by: Judging | None = None) -> None:
        judging = by or self.environment()
        judging.begin()
        for body in bodies:
            judging.read(body)
        judging.finish()

    def pass_time(self, seconds: float) -> None:
        """Deliver what is due by then, each at its time."""
        until = self.now + seconds
        while self.delayed and self.delayed[0][0] <= until:
            self.now, body = self.delayed.popleft()
            self.batch(body)
        self.now = until

    @property
    def catalogue(self) -> Catalogue:
        return DynamoStore(self.table).load()

    @property
    def accuracy(self) -> Accuracy:
        return self.catalogue.variants[LARGE.id].accuracy


@pytest.fixture
def cloud(table: DynamoTable) -> Cloud:
    update(DynamoStore(table), lambda base: base.with_tasks(TASK).with_variants(LARGE))
    return Cloud(table)


def test_a_batch_that_contradicts_the_catalogue_changes_it(cloud: Cloud) -> None:
    cloud.batch(*(observed(n) for n in range(4)))

    assert cloud.accuracy == share(0, 32)
    assert cloud.catalogue.version == 2
    assert not cloud.delayed


def test_duplicates_and_another_order_change_nothing(cloud: Cloud) -> None:
    bodies = [observed(n) for n in range(4)]
    cloud.batch(bodies[2], bodies[0])
    cloud.batch(*reversed(bodies), *bodies)
    cloud.pass_time(3 * PUBLISH_S)

    found = cloud.environment()._estimator.estimate(cloud.catalogue.variants[LARGE.id], "accuracy")
    assert (found.accuracy, found.judged_rows) == (share(0, 32), 32)
    assert cloud.accuracy == share(0, 16)  # the last estimate is within its interval


def test_what_agrees_changes_no_version_and_is_looked_at_once(cloud: Cloud) -> None:
    cloud.batch(observed(1, right=True))

    assert cloud.catalogue.version == 1
    assert not cloud.delayed


def test_it_is_published_once_a_minute_by_all_together_and_in_the_end(cloud: Cloud) -> None:
    released = []
    for number in range(20):
        cloud.batch(observed(number, right=number >= 7))
        released.append((cloud.now, cloud.catalogue.version))
        cloud.pass_time(10.5)
    cloud.pass_time(3 * PUBLISH_S)

    changes = [at for (at, version), (_, before) in zip(released[1:], released, strict=False) if version != before]
    assert all(np.diff(changes) >= PUBLISH_S)
    assert len(changes) >= 2
    assert cloud.accuracy.value > 0.9  # the bad ones were forgotten when it was good again
    assert not cloud.delayed
    assert cloud.environment()._estimator.waiting() is False


def test_what_came_within_the_minute_is_published_a_minute_later_with_one_message(cloud: Cloud) -> None:
    cloud.batch(observed(1, right=True))
    for number in range(2, 8):
        cloud.batch(observed(number))
    assert cloud.catalogue.version == 1
    assert [body for _, body in cloud.delayed] == [LOOK]

    cloud.pass_time(PUBLISH_S)

    assert cloud.catalogue.version == 2
    assert cloud.accuracy.value < 0.9
    assert not cloud.delayed


def test_the_next_batch_may_be_first_and_the_message_then_finds_nothing(cloud: Cloud) -> None:
    cloud.batch(observed(1, right=True))
    cloud.batch(*(observed(n) for n in range(2, 6)))
    (at, look) = cloud.delayed.popleft()
    cloud.now = at
    cloud.batch(observed(6))
    assert cloud.catalogue.version == 2
    cloud.batch(look)
    assert cloud.catalogue.version == 2
    assert not cloud.delayed


def test_a_message_that_comes_while_another_has_the_turn_is_not_the_last(cloud: Cloud) -> None:
    cloud.batch(observed(1, right=True))
    cloud.batch(*(observed(n) for n in range(2, 6)))
    cloud.delayed.clear()
    cloud.now += 5
    cloud.batch(LOOK)
    assert [body for _, body in cloud.delayed] == [LOOK]
    cloud.pass_time(2 * PUBLISH_S)
    assert cloud.accuracy.value < 0.9


def test_an_appointment_that_nobody_keeps_is_made_again(cloud: Cloud) -> None:
    cloud.batch(observed(1, right=True))
    cloud.batch(*(observed(n) for n in range(2, 6)))
    cloud.delayed.clear()  # lost
    cloud.now += 901
    assert cloud.environment()._claims.claim(TURN, cloud.now, PUBLISH_S)
    cloud.batch(observed(6))
    assert [body for _, body in cloud.delayed] == [LOOK]


def test_one_that_is_cut_off_after_keeping_is_made_up_for(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    judging = cloud.environment()
    with monkeypatch.context() as patched:
        patched.setattr(judging._claims, "claim", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cloud.batch(*(observed(n) for n in range(4)), by=judging)
    cloud.batch(*(observed(n) for n in range(4)), by=judging)

    assert cloud.accuracy == share(0, 32)


def test_one_that_is_cut_off_with_the_turn_is_made_up_for(cloud: Cloud) -> None:
    judging = cloud.environment()
    judging._estimator.publish = lambda _: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(ZeroDivisionError):
        cloud.batch(*(observed(n) for n in range(4)), by=judging)
    cloud.batch(*(observed(n) for n in range(4)))
    assert cloud.catalogue.version == 1
    cloud.pass_time(PUBLISH_S)
    assert cloud.accuracy == share(0, 32)


def test_who_cannot_see_the_catalogue_as_it_is_forgets_nothing_that_was_judged(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle, numbers = cloud.environment(), itertools.count()

    def judged(batches: int, *, right: bool, by: Judging | None = None) -> None:
        for _ in range(batches):
            cloud.batch(*(observed(next(numbers), right=right) for _ in range(8)), by=by)
            cloud.pass_time(2 * PUBLISH_S)

    judged(1, right=False)
    judged(1, right=False, by=idle)  # it sees the first release, and none of those that follow
    seen = cloud.catalogue.version
    judged(8, right=True)
    assert cloud.catalogue.version >= seen + 2
    before = cloud.environment()._estimator.estimate(cloud.catalogue.variants[LARGE.id], "accuracy")

    def away(*_: Any) -> int:
        raise Unavailable("table", "throttled")

    monkeypatch.setattr(idle._store, "head", away)
    judged(1, right=True, by=idle)
    after = cloud.environment()._estimator.estimate(cloud.catalogue.variants[LARGE.id], "accuracy")
    assert after.judged_rows >= before.judged_rows > 64


def test_a_catalogue_that_cannot_be_published_is_published_later(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise Unavailable("table", "throttled")

    with monkeypatch.context() as patched:
        patched.setattr(DynamoStore, "publish", away)
        cloud.batch(*(observed(n) for n in range(4)))
    assert "cannot be published" in caplog.text
    cloud.pass_time(PUBLISH_S)
    assert cloud.accuracy == share(0, 32)


def test_without_a_queue_the_batch_is_delivered_again(cloud: Cloud) -> None:
    cloud.batch(observed(1, right=True))
    cloud.refuse = True
    with pytest.raises(Unavailable):
        cloud.batch(*(observed(n) for n in range(2, 6)))
    cloud.refuse = False
    cloud.batch(*(observed(n) for n in range(2, 6)))
    cloud.pass_time(PUBLISH_S)
    assert cloud.accuracy.value < 0.9


def test_what_says_nothing_known_fails_alone(cloud: Cloud) -> None:
    judging = cloud.environment()
    judging.begin()
    for body in ("", "{", "{}", json.dumps({"publish": False})):
        with pytest.raises(InvalidValue):
            judging.read(body)
    judging.finish()
    assert cloud.catalogue.version == 1


def test_a_variant_that_is_gone_is_no_fault(cloud: Cloud) -> None:
    gone = Observation("d1", "sum/gone", "blake3:g", 1, 1, b"h\x01")
    cloud.batch(to_message(gone))
    assert cloud.catalogue.version == 1
    assert not cloud.delayed


def test_the_handler_reports_the_messages_that_failed(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLE_NAME", "facts")
    monkeypatch.setenv("FEEDBACK_QUEUE_URL", "https://queue")
    from functions.feedback import app

    monkeypatch.setattr(app, "judging", cloud.environment())
    bodies = [observed(0), "{}", observed(1), observed(2), observed(3)]
    event = {
        "Records": [
            {"messageId": str(n), "body": body, "eventSource": "aws:sqs", "receiptHandle": "r", "attributes": {}}
            for n, body in enumerate(bodies)
        ]
    }

    assert app.handler(event, object()) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert cloud.accuracy == share(0, 32)
    poison = {"Records": [event["Records"][1]]}
    assert app.handler(poison, object()) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
