"""An answer comes with a receipt, and judging by it hands one observation on; what may not be judged hands on none."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from benchmarks.at_once import AtOnce
from functions.aws.feedback import EXPECTED_LIMIT, Feedback
from gateway.issuer import Issuer
from gateway.receipts import LIFE_S, OUTPUT_LIMIT
from optimizer.evidence import unpack
from registry.catalogue import Catalogue
from registry.errors import Unavailable
from registry.judgements import from_message
from registry.receipt_keys import MemoryReceiptKeys

TENANT = "123456789012/reader"
"""Who the fixtures' caller is."""

OTHER = "arn:aws:sts::123456789012:assumed-role/other/session"
PREDICT, JUDGE = "/v1/tasks/sum/predict", "/v1/tasks/sum/feedback"


@dataclass
class Court:
    """The API with a queue that can be read, and a clock that can be moved."""

    api: Any
    now: float = 1_790_000_000.0
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = MemoryReceiptKeys(wall=lambda: self.now)
        service = self.api.routes._service
        service._wall = lambda: self.now
        catalogue: Catalogue = service.snapshots.view()[0]
        self.publish(catalogue.with_tasks(replace(catalogue.tasks["sum"], owner=TENANT, judged="y")))
        self.api.routes._issuer = Issuer(service, self.keys, thread=AtOnce())
        self.api.routes._feedback = Feedback(service, self.keys, self.sent.append, wall=lambda: self.now)

    def publish(self, catalogue: Catalogue) -> None:
        self.api.routes._service.snapshots.replace(catalogue)

    @property
    def catalogue(self) -> Catalogue:
        found: Catalogue = self.api.routes._service.snapshots.view()[0]
        return found

    async def answer(self, rows: int = 2, **options: Any) -> dict[str, Any]:
        status, body = await self.api("POST", PREDICT, {"inputs": [[1.0, 2.0]] * rows}, **options)
        assert status == 200
        decision: dict[str, Any] = body["decision"]
        return decision

    async def judge(self, receipt: Any, expected: Any, path: str = JUDGE, **more: Any) -> tuple[int, Any]:
        options = {"arn": more.pop("arn")} if "arn" in more else {}
        found: tuple[int, Any] = await self.api(
            "POST", path, {"receipt": receipt, "expected": expected, **more}, **options
        )
        return found


@pytest.fixture
def court(api: Any) -> Court:
    return Court(api)


async def test_an_answer_is_judged_by_its_receipt(court: Court) -> None:
    decision = await court.answer()

    status, body = await court.judge(decision["receipt"], [3.0, 4.0])

    assert (status, body) == (202, {"accepted": True, "decision_id": decision["decision_id"]})
    (observed,) = map(from_message, court.sent)
    assert (observed.decision_id, observed.variant, observed.rows) == (decision["decision_id"], "sum/fine", 2)
    assert observed.artifact == court.catalogue.variants["sum/fine"].artifact
    assert observed.at_ms == int(court.now * 1000)
    assert [list(a) for a in unpack("accuracy", observed.evidence, 2)] == [[True, False], [True, True]]


async def test_a_receipt_goes_with_its_decision_id_and_with_no_other(court: Court) -> None:
    decision = await court.answer()

    assert (await court.judge(decision["receipt"], [3, 3], decision_id=decision["decision_id"]))[0] == 202
    status, body = await court.judge(decision["receipt"], [3, 3], decision_id="another")
    assert (status, body["error"]["field"]) == (422, "decision_id")
    assert len(court.sent) == 1


async def test_another_environment_takes_it(court: Court) -> None:
    receipt = (await court.answer())["receipt"]
    court.api.routes._service.log = type(court.api.routes._service.log)()

    assert (await court.judge(receipt, [3.0, 3.0]))[0] == 202


async def test_who_cannot_judge_has_no_receipt_and_may_not(court: Court) -> None:
    judged = court.catalogue.tasks["sum"]
    court.publish(court.catalogue.with_tasks(replace(judged, owner="public")))
    decision = await court.answer()

    assert decision["receipt"] is None
    court.publish(court.catalogue.with_tasks(judged))
    receipt = (await court.answer())["receipt"]
    court.publish(court.catalogue.with_tasks(replace(judged, owner="public")))
    status, body = await court.judge(receipt, [3.0, 3.0])
    assert (status, body["error"]["code"]) == (403, "forbidden")
    assert court.sent == []


async def test_a_task_of_which_nothing_is_judged_has_none(court: Court) -> None:
    receipt = (await court.answer())["receipt"]
    court.publish(court.catalogue.with_tasks(replace(court.catalogue.tasks["sum"], judged="")))

    assert (await court.answer())["receipt"] is None
    assert (await court.judge(receipt, [3.0, 3.0]))[0] == 422


async def test_another_tenant_is_refused(court: Court) -> None:
    receipt = (await court.answer())["receipt"]

    assert (await court.judge(receipt, [3.0, 3.0], arn=OTHER))[0] == 404
    assert (await court.judge(receipt, [3.0, 3.0], arn=None))[0] == 401
    assert court.sent == []


async def test_what_is_gone_changed_or_old_is_refused(court: Court) -> None:
    receipt = (await court.answer())["receipt"]
    other = court.catalogue.tasks["sum"]
    court.publish(court.catalogue.with_tasks(replace(other, name="other")))

    assert (await court.judge(receipt, [3.0, 3.0], path="/v1/tasks/other/feedback"))[0] == 404
    assert (await court.judge(receipt, [3.0, 3.0], path="/v1/tasks/none/feedback"))[0] == 404
    assert (await court.judge(receipt[:-9] + "AAAAAAAAA", [3.0, 3.0]))[0] == 403
    assert (await court.judge("receipt", [3.0, 3.0]))[0] == 422
    court.now += LIFE_S + 1
    assert (await court.judge(receipt, [3.0, 3.0]))[0] == 404
    assert court.sent == []


async def test_a_variant_that_was_replaced_is_not_judged_by_what_it_was(court: Court) -> None:
    receipt = (await court.answer())["receipt"]
    fine = court.catalogue.variants["sum/fine"]
    court.publish(court.catalogue.with_variants(replace(fine, artifact="blake3:" + "1" * 64)))

    status, body = await court.judge(receipt, [3.0, 3.0])
    assert status == 404
    assert "replaced" in body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "field_"),
    [
        ({"expected": [3.0, 3.0]}, "receipt"),
        ({"receipt": None, "expected": [3.0, 3.0]}, "receipt"),
        ({"receipt": 5, "expected": [3.0, 3.0]}, "receipt"),
        ({"receipt": "given"}, "expected"),
        ({"receipt": "given", "expected": 3.0}, "expected"),
        ({"receipt": "given", "expected": [3.0]}, "expected"),
        ({"receipt": "given", "expected": [3.0, "x"]}, "expected"),
        ({"receipt": "given", "expected": [[3.0], [3.0]]}, "expected"),
        ({"receipt": "given", "expected": [3.0, 3.0], "variant": "sum/rough"}, "variant"),
    ],
)
async def test_a_body_that_cannot_be_names_its_field(court: Court, body: dict[str, Any], field_: str) -> None:
    receipt = (await court.answer())["receipt"]
    given = {**body, **({"receipt": receipt} if body.get("receipt") == "given" else {})}

    status, refusal = await court.api("POST", JUDGE, given)

    assert (status, refusal["error"]["field"]) == (422, field_)
    assert court.sent == []


async def test_a_body_over_the_limit_is_refused(court: Court) -> None:
    receipt = (await court.answer())["receipt"]

    status, refusal = await court.judge(receipt, ["x" * EXPECTED_LIMIT, "y"])

    assert (status, refusal["error"]["limit_bytes"]) == (413, EXPECTED_LIMIT)


async def test_the_largest_output_with_a_receipt_is_judged_and_a_larger_one_answered_without(court: Court) -> None:
    fits = OUTPUT_LIMIT // 4
    specs = [replace(spec, datatype="FP32") for spec in court.catalogue.tasks["sum"].outputs]
    court.publish(court.catalogue.with_tasks(replace(court.catalogue.tasks["sum"], outputs=tuple(specs))))
    for backend in court.api.backends.values():
        backend._answer = lambda invocation: {"y": np.full(fits, 3, np.float32)}
    receipt = (await court.answer(8))["receipt"]

    assert (await court.judge(receipt, [3.0] * fits))[0] == 202
    assert len(court.sent[0]) < 256 * 1024
    for backend in court.api.backends.values():
        backend._answer = lambda invocation: {"y": np.full(fits + 1, 3, np.float32)}
    assert (await court.answer(8))["receipt"] is None


async def test_an_answer_is_given_also_when_no_key_is_to_be_had(
    court: Court, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> None:
        raise Unavailable("table", "it does not answer")

    receipt = (await court.answer())["receipt"]
    monkeypatch.setattr(court.keys, "current", away)
    assert (await court.answer())["receipt"] is None
    assert "no key for a receipt" in caplog.text
    monkeypatch.setattr(court.keys, "find", lambda _: away())
    status, body = await court.judge(receipt, [3.0, 3.0])
    assert (status, body["error"]["code"]) == (503, "unavailable")


async def test_a_queue_that_does_not_take_it_is_said(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: str) -> None:
        raise Unavailable("queue", "throttled")

    receipt = (await court.answer())["receipt"]
    court.api.routes._feedback._send = full

    assert (await court.judge(receipt, [3.0, 3.0]))[0] == 503


async def test_without_a_queue_there_are_no_receipts_and_no_judging(court: Court) -> None:
    receipt = (await court.answer())["receipt"]
    court.api.routes._feedback = court.api.routes._issuer = None

    assert (await court.answer())["receipt"] is None
    assert (await court.judge(receipt, [3.0, 3.0]))[0] == 503


async def test_a_decision_is_explained_without_its_receipt(court: Court) -> None:
    decision = await court.answer()

    _, body = await court.api("GET", f"/v1/decisions/{decision['decision_id']}")

    assert body["served"]["receipt"] is None
    assert decision["receipt"] not in json.dumps(body)
