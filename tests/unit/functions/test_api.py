"""The API function answers, refuses and explains as the HTTP face does, and starts without what it need not have."""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.aws.callers import principal
from functions.aws.replies import REPLY_LIMIT
from gateway.decisions import Record
from gateway.errors import DeadlineExceeded, Throttled
from gateway.http.openapi import OPERATIONS
from gateway.measures import measures_of
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import Unavailable
from registry.model import Recipe
from registry.stores.generations import SqliteGenerations

ROOT = Path(__file__).resolve().parents[3]


async def test_inputs_are_answered_with_the_decision(api: Any) -> None:
    status, body = await api("POST", "/v1/tasks/sum/predict", {"inputs": [[1.5, 2.0], [3.0, 4.0]], "id": "mine"})

    assert status == 200
    assert body["outputs"] == {"y": [3.5, 7.0]}
    assert (body["id"], body["task"]) == ("mine", "sum")
    assert body["decision"]["variant"] == "sum/fine"
    assert body["decision"]["cold_start"] is True
    assert body["decision"]["slo_met"] is True


async def test_hints_change_the_choice(api: Any) -> None:
    hints = {"latency_ms": 60, "objective": "cost", "min_accuracy": 0.85}
    status, body = await api("POST", "/v1/tasks/sum/plan", {"slo": hints})

    assert status == 200
    assert body["chosen"]["variant"] == "sum/rough"
    assert body["slo"]["objective"] == "cost"
    assert body["why_not"]


async def test_the_next_placement_answers_when_one_is_throttled(api: Any) -> None:
    _, plan = await api("POST", "/v1/tasks/sum/plan", {})
    api.backends[plan["chosen"]["tier"]].script.append(Throttled("full"))

    status, body = await api("POST", "/v1/tasks/sum/predict", {"inputs": [[1.0, 1.0]]})

    assert status == 200
    assert [bool(a["error"]) for a in body["decision"]["attempts"]] == [True, False]


async def test_a_decision_can_be_explained(api: Any) -> None:
    _, answer = await api("POST", "/v1/tasks/sum/predict", {"inputs": [[1.0, 1.0]]})
    decision_id = answer["decision"]["decision_id"]

    status, body = await api("GET", f"/v1/decisions/{decision_id}")

    assert status == 200
    assert body["decision_id"] == decision_id
    assert body["served"]["placement"] == answer["decision"]["placement"]


async def test_another_tenants_decision_is_unknown(api: Any) -> None:
    _, answer = await api("POST", "/v1/tasks/sum/predict", {"inputs": [[1.0, 1.0]]})

    status, _ = await api(
        "GET", f"/v1/decisions/{answer['decision']['decision_id']}", arn="arn:aws:iam::999999999999:user/eve"
    )

    assert status == 404


async def test_a_caller_sees_their_own_tasks(api: Any) -> None:
    _, body = await api("GET", "/v1/tasks")

    assert [task["name"] for task in body["tasks"]] == ["sum"]


async def test_a_task_shows_its_signature(api: Any) -> None:
    status, body = await api("GET", "/v1/tasks/sum")

    assert status == 200
    assert body["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "finite": True}]


async def test_the_frontier_names_every_placement(api: Any) -> None:
    status, body = await api("GET", "/v1/tasks/sum/frontier")

    assert status == 200
    assert {point["placement"].split("@")[0] for point in body["frontier"]} == {"sum/rough", "sum/fine"}


PREDICT = "/v1/tasks/sum/predict"


@pytest.mark.parametrize(
    ("call", "status", "said"),
    [
        (("POST", PREDICT, "{"), 400, "not JSON"),
        (("POST", PREDICT, {}), 422, "inputs"),
        (("POST", PREDICT, None), 422, "body"),
        (("POST", PREDICT, {"inputs": [[1, 2]], "tenant": "acme"}), 422, "tenant"),
        (("POST", PREDICT, {"inputs": [[1, 2, 3]]}), 422, "x"),
        (("POST", PREDICT, {"inputs": {"z": [[1, 2]]}}), 422, "z"),
        (("POST", PREDICT, '{"inputs": [[1, NaN]]}'), 400, "not JSON"),
        (("POST", PREDICT, "[" * 100_000), 400, "not JSON"),
        (("POST", PREDICT, "[1]"), 422, "body"),
        (("POST", PREDICT, '"text"'), 422, "body"),
        (("POST", PREDICT, "\ud800"), 400, "not JSON"),
        (("POST", PREDICT, {"inputs": [[1, 2]], "slo": {"latency_ms": -1}}), 422, "slo.latency_ms"),
        (("POST", PREDICT, {"inputs": [[1, 2]], "slo": {"latency": 1}}), 422, "slo.latency"),
        (("POST", PREDICT, {"inputs": [[1, 2]], "slo": {"percentile": None}}), 422, "percentile"),
        (("POST", PREDICT, {"inputs": [[1, 2]], "slo": {"latency_ms": True}}), 422, "slo.latency_ms"),
        (("POST", PREDICT, {"inputs": [[1, 2]], "slo": {"min_accuracy": "0.9"}}), 422, "slo.min_accuracy"),
        (("POST", PREDICT, {"inputs": [[1, 2]], "id": "a b"}), 422, "id"),
        (("POST", "/v1/tasks/sum/plan", {"rows": 0}), 422, "rows"),
        (("POST", "/v1/tasks/sum/plan", {"rows": True}), 422, "rows"),
        (("POST", "/v1/tasks/sum/plan", {"rows": 2.5}), 422, "rows"),
        (("POST", "/v1/tasks/none/predict", {"inputs": [[1, 2]]}), 404, "none"),
        (("POST", "/v1/tasks/secret/predict", {"inputs": [[1, 2]]}), 404, "secret"),
        (("GET", "/v1/tasks/none", None), 404, "none"),
        (("GET", "/v1/decisions/none", None), 404, "none"),
        (("GET", "/v1/nothing", None), 404, "path"),
    ],
)
async def test_bad_input_is_refused_with_the_reason(api: Any, call: tuple[Any, ...], status: int, said: str) -> None:
    actual, refusal = await api(*call)

    assert (actual, set(refusal)) == (status, {"error"})
    assert said in refusal["error"]["message"]
    assert refusal["error"]["code"]


async def test_a_refusal_repeats_no_more_than_the_beginning_of_a_name(api: Any) -> None:
    status, refusal = await api("POST", PREDICT, {"inputs": [[1, 2]], "n" * 1_000_000: 1})

    assert (status, refusal["error"]["field"]) == (422, "n" * 80)
    assert len(json.dumps(refusal)) < 1000


@pytest.mark.parametrize(
    "change",
    [
        {"body": b64encode(b'{"inputs": [[1, "\xff"]]}').decode(), "isBase64Encoded": True},
        {"headers": {"content-type": "text/csv"}, "body": "1,2"},
        {"headers": {"Content-Type": "application/x-www-form-urlencoded"}, "body": '{"inputs": [[1, 2]]}'},
        {"headers": {"content-type": "multipart/form-data; boundary=x"}, "body": "--x--"},
    ],
)
async def test_a_body_that_is_not_json_in_utf8_is_refused(
    api: Any, make_event: Callable[..., dict[str, Any]], change: dict[str, Any]
) -> None:
    answer = await api.routes.answer({**make_event("POST", PREDICT), **change}, object())

    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["error"]["code"] == "bad_request"


async def test_a_base64_body_is_answered(api: Any, make_event: Callable[..., dict[str, Any]]) -> None:
    event = make_event("POST", "/v1/tasks/sum/plan", b64encode(b'{"rows": 2}').decode())

    answer = await api.routes.answer({**event, "isBase64Encoded": True}, object())

    assert json.loads(answer["body"])["rows"] == 2


@pytest.mark.parametrize(
    ("text", "nbytes", "status", "base64"),
    [
        ("a", 6_200_000, 200, False),
        ("é", 6_200_000, 200, False),
        ('"', 2_200_000, 200, True),
        ("\\", 2_200_000, 200, True),
        ('"', 2_400_000, 413, False),
        ("\\", 2_400_000, 413, False),
        ("é", 6_300_000, 413, False),
    ],
)
async def test_an_answer_is_sent_as_lambda_carries_it_or_refused(
    api: Any, text: str, nbytes: int, status: int, base64: bool
) -> None:
    says = text * (nbytes // len(text.encode()))
    api.say(says)

    answer = await api.answer("POST", PREDICT, {"inputs": [[1, 2]]})

    assert (answer["statusCode"], answer["isBase64Encoded"]) == (status, base64)
    assert len(json.dumps(answer, ensure_ascii=False).encode()) <= REPLY_LIMIT
    body = json.loads(b64decode(answer["body"]) if base64 else answer["body"])
    if status == 200:
        assert body["outputs"] == {"y": [says]}
    else:
        assert (body["error"]["code"], body["error"]["limit_bytes"]) == ("too_large", REPLY_LIMIT)
        assert "fewer rows" in body["error"]["message"]


async def test_a_strict_slo_that_nothing_holds_comes_with_the_nearest(api: Any) -> None:
    hints = {"latency_ms": 1, "on_infeasible": "strict"}
    status, body = await api("POST", PREDICT, {"inputs": [[1, 2]], "slo": hints})

    assert status == 422
    assert body["error"]["code"] == "infeasible"
    assert body["error"]["nearest"]["latency_ms"] > 1


async def test_who_is_not_proved_is_refused_and_costs_no_read(catalogue: Catalogue) -> None:
    from functions.api.routes import Routes

    looks: list[float] = []
    routes = Routes(Service(Snapshots(catalogue), {}), lambda event: principal(event, "sub"), refresh=looks.append)
    answer = await routes.answer(_event("GET", "/v1/tasks"), object())

    assert answer["statusCode"] == 401
    assert looks == []


async def test_without_a_catalogue_the_answer_is_503() -> None:
    from functions.api.routes import Routes

    def away(_: float) -> None:
        raise Unavailable("table facts", "it does not answer")

    service = Service(Snapshots(Catalogue.empty()), {})
    routes = Routes(service, lambda _: principal(_signed(), "sub"), refresh=away)
    answer = await routes.answer(_event("GET", "/v1/tasks"), object())

    assert answer["statusCode"] == 503
    assert json.loads(answer["body"])["error"]["code"] == "unavailable"


@pytest.mark.parametrize(
    ("slo", "within_s"),
    [
        (None, math.inf),
        ({"latency_ms": 250}, math.inf),
        ({"on_infeasible": "strict"}, math.inf),
        ({"latency_ms": 250, "on_infeasible": "best_effort"}, math.inf),
        ({"latency_ms": 250, "on_infeasible": "strict"}, 1.0),
    ],
)
async def test_a_look_has_until_a_second_after_the_deadline(
    slo: Any, within_s: float, catalogue: Catalogue, make_event: Callable[..., dict[str, Any]]
) -> None:
    from functions.api.routes import Routes

    looks: list[float] = []

    def away(within_s: float) -> None:
        looks.append(within_s)
        raise Unavailable("table facts", "it does not answer")

    routes = Routes(Service(Snapshots(catalogue), {}), lambda _: principal(_signed(), "sub"), refresh=away)
    answer = await routes.answer(make_event("POST", PREDICT, {"inputs": [[1, 2]], "slo": slo}), object())

    assert answer["statusCode"] == 503
    assert looks == [within_s]


@pytest.mark.parametrize("left_ms", [1010, 700])
async def test_an_answer_that_comes_after_the_functions_own_time_is_a_504(api: Any, left_ms: int) -> None:
    """And is told to whoever counts: a worker that hangs is what alarms are for."""
    records: list[Record] = []
    api.service.watch_with(records.append)

    status, body = await api("POST", PREDICT, {"inputs": [[1, 2]]}, left_ms=left_ms)

    assert (status, body["error"]["code"]) == (504, "deadline_exceeded")
    assert [type(record.error) for record in records] == [DeadlineExceeded]
    assert ("SloMissed", 1) in [(measure.metric, measure.value) for measure in measures_of(records[0])]


async def test_generations_of_ones_own_tasks_are_listed_and_shown(api: Any, tmp_path: Path) -> None:
    generations = SqliteGenerations(tmp_path / "generations.db")
    recipe = Recipe("int8", "fine", (("mode", "dynamic"),))
    mine, _ = (generations.queue(task, "int8", "int8", recipe, basis="b") for task in ("sum", "secret"))
    assert await api("GET", "/v1/generations") == (200, {"generations": []})
    assert (await api("GET", f"/v1/generations/{mine.id}"))[0] == 404
    api.routes._generations = generations

    status, listed = await api("GET", "/v1/generations")
    assert (status, [each["id"] for each in listed["generations"]]) == (200, [mine.id])
    assert await api("GET", f"/v1/generations/{mine.id}") == (200, listed["generations"][0])
    for other in (generations.generations()[0].id, "none"):
        assert (await api("GET", f"/v1/generations/{other}"))[0] == 404
    generations.close()
    assert (await api("GET", "/v1/generations"))[0] == 503


async def test_health_needs_no_credential(api: Any) -> None:
    assert await api("GET", "/healthz", arn=None) == (200, {"status": "ok"})


async def test_its_openapi_document_has_the_operations_of_the_http_face(api: Any) -> None:
    status, document = await api("GET", "/openapi.json")
    served = {
        (method, path, operation["operationId"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation["operationId"] != "offerInbox"  # on one machine any body can be sent
    }
    # What is kept warm is told by the functions that see to it.
    elsewhere = {"capacity"}
    faces = {
        (o.method, o.path, o.name)
        for o in OPERATIONS
        if (o.path.startswith("/v1") or o.path == "/healthz") and o.name not in elsewhere
    }

    assert status == 200
    assert {(m, _unnamed(p), n) for m, p, n in served} == {(m, _unnamed(p), n) for m, p, n in faces}


def _unnamed(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def _signed() -> dict[str, Any]:
    return {"requestContext": {"authorizer": {"iam": {"userArn": "arn:aws:iam::123456789012:user/ada"}}}}


def _event(method: str, path: str) -> dict[str, Any]:
    return {
        "rawPath": path,
        "headers": {},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
    }
