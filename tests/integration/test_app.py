"""The HTTP face over real ASGI and a real service, with fake backends: every route and every refusal."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gateway import bodies
from gateway.app import create_app
from gateway.auth import Keyring, Principal, key_digest
from gateway.backends.fake import FakeBackend, steady
from gateway.backends.protocol import Invocation
from gateway.capacity.arrivals import minute_of
from gateway.capacity.keeper import Keeper
from gateway.errors import EnvironmentLost, ExecutionFailed, NotReady, Throttled
from gateway.http import face as shared
from gateway.metrics import Metrics
from gateway.quotas import Buckets
from gateway.schemas import CapacityResponse
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.activity import Usage
from registry.catalogue import Catalogue
from registry.lineage import Outcome, Tried
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from registry.stores.activity import MemoryActivity
from registry.stores.generations import SqliteGenerations
from runtime.codecs import text
from scheduler.actions import Warm
from scheduler.capacity import Plan

LIMIT = 4096
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
ACCURACY = {"small": 0.8, "large": 0.99}


def facts() -> Catalogue:
    spec, out = (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 1)),)
    tiers = [
        Tier(name, TierKind.PROCESS, 1.0, 1769, 4, StartMode.ALWAYS, Price(0.00003), timeout_s=5.0)
        for name in ("a", "b")
    ]
    variants = [
        Variant("sum", name, f"blake3:{i:064x}", Recipe("test"), Accuracy(value, value, value, 100, "wilson"))
        for i, (name, value) in enumerate(ACCURACY.items())
    ]
    placements = [Placement("sum/small", "a"), Placement("sum/large", "b")]
    quick = Quantiles((1.0,) * len(LEVELS), 1.0)
    profiles = [
        Profile(p.id, (ServiceTime(1, quick, 1.0), ServiceTime(64, quick, 1.0)), ZERO, ZERO, 1.0, "t", "none", 9, "now")
        for p in placements
    ]
    made = Catalogue.empty().with_tasks(
        Task("sum", spec, out, "accuracy", description="Adds.", judged="y"),
        Task("private", spec, out, "accuracy", owner="globex"),
    )
    return made.with_tiers(*tiers).with_variants(*variants).with_placements(*placements).with_profiles(*profiles)


class Gateway:
    """The application, its fake backends and a client."""

    def __init__(self, keyring: Keyring | None = None) -> None:
        catalogue = facts()
        snapshots = Snapshots(catalogue)
        self.backends = {
            name: FakeBackend(tier, emit=snapshots.emit, answer=total, clock=time.monotonic, timing=steady(run_ms=0.1))
            for name, tier in catalogue.tiers.items()
        }
        self.metrics = Metrics(self.backends)
        self.service = Service(snapshots, self.backends, observers=[self.metrics.observe])
        app = create_app(self.service, metrics=self.metrics, keyring=keyring, body_limit=LIMIT)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")

    async def predict(self, body: Any = None, task: str = "sum", **options: Any) -> httpx.Response:
        body = {"inputs": {"x": ROWS}} if body is None else body
        return await self.http.post(f"/v1/tasks/{task}/predict", json=body, **options)


def total(invocation: Invocation) -> dict[str, Any]:
    return {"y": invocation.inputs["x"].sum(axis=1, keepdims=True)}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    yield made
    await made.http.aclose()


@pytest.fixture
async def guarded() -> AsyncIterator[Gateway]:
    made = Gateway(Keyring({key_digest("alice-key"): Principal("alice", "acme")}))
    yield made
    await made.http.aclose()


async def test_predict_answers_with_the_decision(gateway: Gateway) -> None:
    response = await gateway.predict({"inputs": {"x": ROWS}, "slo": {"objective": "accuracy"}, "id": "mine"})
    assert response.status_code == 200
    answer = response.json()
    assert answer["outputs"] == {"y": [[6.0], [15.0]]}
    assert (answer["id"], response.headers["x-request-id"]) == ("mine", "mine")
    decision = answer["decision"]
    assert (decision["variant"], decision["tier"], decision["slo_met"]) == ("sum/large", "b", True)
    assert response.headers["x-decision-id"] == decision["decision_id"]


async def test_the_one_input_may_be_given_by_itself_and_the_id_in_a_header(gateway: Gateway) -> None:
    response = await gateway.predict({"inputs": ROWS}, headers={"X-Request-Id": "r-1"})
    assert response.json()["outputs"] == {"y": [[6.0], [15.0]]}
    assert response.headers["x-request-id"] == "r-1"


async def test_plan_frontier_tasks_and_explain(gateway: Gateway) -> None:
    plan = (await gateway.http.post("/v1/tasks/sum/plan", json={"slo": {"min_accuracy": 0.9}, "rows": 2})).json()
    assert plan["chosen"]["variant"] == "sum/large"
    assert "sum/small@a:1" in plan["why_not"]
    assert (await gateway.http.post("/v1/tasks/sum/plan")).json()["rows"] == 1
    frontier = (await gateway.http.get("/v1/tasks/sum/frontier")).json()["frontier"]
    assert {point["placement"] for point in frontier} == {"sum/small@a:1", "sum/large@b:1"}
    assert [task["name"] for task in (await gateway.http.get("/v1/tasks")).json()["tasks"]] == ["sum"]
    task = (await gateway.http.get("/v1/tasks/sum")).json()
    assert task["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3], "finite": True}]
    decision_id = (await gateway.predict()).json()["decision"]["decision_id"]
    explained = (await gateway.http.get(f"/v1/decisions/{decision_id}")).json()
    assert explained["served"]["placement"] == explained["chosen"]["placement"] == "sum/large@b:1"
    assert (await gateway.http.get("/v1/decisions/none")).status_code == 404


BAD = [
    ({"inputs": {"x": [[1.0, 2.0]]}}, {"tensor": "x"}),
    ({"inputs": {"x": [1.0, 2.0, 3.0]}}, {"tensor": "x"}),
    ({"inputs": {"x": [["a", "b", "c"]]}}, {"tensor": "x"}),
    ({"inputs": {"x": [[1.0, 2.0], [3.0]]}}, {"tensor": "x"}),
    ({"inputs": {}}, {"tensor": "x"}),
    ({"inputs": {"x": ROWS, "z": ROWS}}, {"tensor": "z"}),
    ({"slo": {}}, {"field": "inputs"}),
    ({"inputs": {"x": ROWS}, "slo": {"latency_ms": -5}}, {"field": "slo.latency_ms"}),
    ({"inputs": {"x": ROWS}, "slo": {"percentile": 100}}, {"field": "slo.percentile"}),
    ({"inputs": {"x": ROWS}, "slo": {"min_accuracy": 1.5}}, {"field": "slo.min_accuracy"}),
    ({"inputs": {"x": ROWS}, "slo": {"speed": 1}}, {"field": "slo.speed"}),
    ({"inputs": {"x": ROWS}, "slo": {"objective": "fun"}}, {"field": "slo.objective"}),
    ({"inputs": {"x": ROWS}, "slo": 5}, {"field": "slo"}),
    ({"inputs": {"x": ROWS}, "hints": {}}, {"field": "hints"}),
    ({"inputs": {"x": ROWS}, "id": "a\nb"}, {"field": "id"}),
]


@pytest.mark.parametrize(("body", "names"), BAD, ids=[json.dumps(b)[:50] for b, _ in BAD])
async def test_impossible_values_are_422_and_named(gateway: Gateway, body: Any, names: dict[str, str]) -> None:
    response = await gateway.predict(body)
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["code"] == "unprocessable"
    assert names.items() <= error.items()
    assert error["message"]


async def test_nan_is_422_naming_the_tensor(gateway: Gateway) -> None:
    body = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}]}'
    response = await gateway.http.post(
        "/v2/models/sum/infer",
        content=body + struct.pack("<3f", 1.0, float("nan"), 2.0),
        headers={"Inference-Header-Content-Length": str(len(body))},
    )
    assert response.status_code == 422
    assert response.json()["error"].startswith("x: ")


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'{"inputs": NaN}', b"\xff"])
async def test_a_body_that_is_no_json_object_is_400(gateway: Gateway, body: bytes) -> None:
    response = await gateway.http.post("/v1/tasks/sum/predict", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_request"


async def test_over_the_limit_is_413_before_all_is_read(gateway: Gateway) -> None:
    read: list[int] = []

    async def chunks() -> AsyncIterator[bytes]:
        for i in range(100):
            read.append(i)
            yield b" " * 1024

    declared = await gateway.http.post("/v1/tasks/sum/predict", content=b" " * (LIMIT + 1))
    # httpx's ASGI transport hands chunks over one by one, so the count of those read is ours.
    streamed = await gateway.http.post("/v1/tasks/sum/predict", content=chunks())
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert declared.json()["error"]["limit_bytes"] == LIMIT
    assert len(read) <= 6


async def test_unknown_things_are_404_in_the_face_s_own_words(gateway: Gateway) -> None:
    assert (await gateway.predict(task="nothing")).json()["error"]["code"] == "not_found"
    assert (await gateway.http.get("/v1/nothing")).status_code == 404
    model = await gateway.http.get("/v2/models/nothing")
    assert (model.status_code, type(model.json()["error"])) == (404, str)
    assert isinstance((await gateway.http.get("/v2/nothing")).json()["error"], str)
    wrong = await gateway.http.get("/v1/tasks/sum/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def test_strict_and_infeasible_is_422_with_the_nearest(gateway: Gateway) -> None:
    slo = {"min_accuracy": 0.999, "on_infeasible": "strict"}
    response = await gateway.predict({"inputs": ROWS, "slo": slo})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "infeasible"
    assert response.json()["error"]["nearest"]["min_accuracy"] <= 0.99
    served = (await gateway.predict({"inputs": ROWS, "slo": {"min_accuracy": 0.999}})).json()["decision"]
    assert (served["slo_met"], served["broken"]) == (False, ["min_accuracy"])


async def test_no_capacity_is_429_with_retry_after(gateway: Gateway) -> None:
    for backend in gateway.backends.values():
        backend.script.append(Throttled("full", 2.5))
    response = await gateway.predict()
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
    assert response.json()["error"]["retry_after_s"] == 2.5


async def test_every_placement_failing_is_503_with_reasons(gateway: Gateway) -> None:
    gateway.backends["a"].script.extend([EnvironmentLost("killed by signal 9"), ExecutionFailed("out of memory")])
    gateway.backends["b"].script.append(NotReady("no copies"))
    response = await gateway.predict()
    assert response.status_code == 503
    errors = [attempt["error"] for attempt in response.json()["error"]["attempts"]]
    lost, failed = "EnvironmentLost: killed by signal 9", "ExecutionFailed: out of memory"
    assert errors == ["NotReady: no copies", lost, failed]


async def test_no_answer_in_time_is_504(gateway: Gateway) -> None:
    for backend in gateway.backends.values():
        backend._timing = steady(run_ms=60_000)
    slo = {"latency_ms": 20, "on_infeasible": "strict"}
    response = await gateway.predict({"inputs": ROWS, "slo": slo})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")


async def test_an_unexpected_fault_is_500_and_tells_nothing(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway.backends["b"].script.append(KeyError("secret"))  # type: ignore[arg-type]
    response = await gateway.predict()
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "KeyError" in caplog.text


async def test_credentials_401_and_foreign_tasks_404(guarded: Gateway) -> None:
    assert (await guarded.predict()).status_code == 401
    assert (await guarded.predict(headers={"X-API-Key": "wrong"})).headers["www-authenticate"] == "Bearer"
    for headers in ({"Authorization": "Bearer alice-key"}, {"X-API-Key": "alice-key"}):
        assert (await guarded.predict(headers=headers)).status_code == 200
        assert (await guarded.predict(task="private", headers=headers)).status_code == 404
    for path in ("/metrics", "/v1/tasks", "/v2/models/sum", "/v2/models/sum/ready"):
        assert (await guarded.http.get(path)).status_code == 401
    for path in ("/healthz", "/docs", "/openapi.json", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready"):
        assert (await guarded.http.get(path)).status_code == 200


async def test_the_inference_protocol_in_json(gateway: Gateway) -> None:
    body = {
        "id": "42",
        "parameters": {"latency_ms": 1000, "objective": "cost"},
        "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}],
    }
    for path in ("/v2/models/sum/infer", "/v2/models/sum/versions/1/infer"):
        answer = (await gateway.http.post(path, json=body)).json()
        assert (answer["model_name"], answer["id"], answer["model_version"]) == ("sum", "42", "1")
        assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [6.0, 15.0]}]
        assert answer["parameters"]["slo_met"] is True
    wrong = await gateway.http.post("/v2/models/sum/infer", json=body | {"parameters": {"latency": 5}})
    assert (wrong.status_code, "latency" in wrong.json()["error"]) == (422, True)
    assert (await gateway.http.post("/v2/models/sum/versions/7/infer", json=body)).status_code == 404
    assert (await gateway.http.post("/v2/models/sum/infer", json={"inputs": 5})).status_code == 400


async def test_the_inference_protocol_in_binary(gateway: Gateway) -> None:
    x = np.array(ROWS, np.float32)
    header = json.dumps(
        {
            "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    ).encode()
    response = await gateway.http.post(
        "/v2/models/sum/infer",
        content=header + x.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(header))},
    )
    length = int(response.headers["inference-header-content-length"])
    np.testing.assert_array_equal(np.frombuffer(response.content[length:], np.float32), [6.0, 15.0])
    for given in ("x", "9" * 5000):
        bad = await gateway.http.post(
            "/v2/models/sum/infer", content=header, headers={"Inference-Header-Content-Length": given}
        )
        assert bad.status_code == 400


async def test_the_inference_protocol_s_metadata(gateway: Gateway) -> None:
    assert (await gateway.http.get("/v2")).json()["name"] == "modelless"
    model = (await gateway.http.get("/v2/models/sum")).json()
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert (await gateway.http.get("/v2/models/sum/ready")).json() == {"name": "sum", "ready": True}
    assert (await gateway.http.post("/v2/repository/index")).json()[0]["name"] == "sum"
    for backend in gateway.backends.values():
        backend.script.append(NotReady("no copies", 60))
    await gateway.predict()
    assert (await gateway.http.get("/v2/models/sum/ready")).status_code == 503


async def test_metrics_count_answers_and_refusals(gateway: Gateway) -> None:
    gateway.backends["b"].script.append(EnvironmentLost("killed"))
    await gateway.predict()
    await gateway.predict({"inputs": 5})
    text = (await gateway.http.get("/metrics")).text
    assert 'modelless_answers_total{task="sum",tier="a"} 1.0' in text
    assert 'modelless_fallbacks_total{task="sum",tier="b"} 1.0' in text
    assert 'modelless_refusals_total{code="unprocessable"} 1.0' in text
    assert 'modelless_environments{state="idle",tier="a"} 1.0' in text


async def test_docs_are_one_page_that_loads_nothing_else(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    page = (await gateway.http.get("/docs")).text
    for path in document["paths"]:
        assert path in page
    assert "src=" not in page
    assert "http://" not in page
    assert "https://" not in page


async def test_capacity_shows_the_last_plan_of_the_callers_tasks(guarded: Gateway) -> None:
    planned = (Warm(Placement("sum/small", "a"), "soon"), Warm(Placement("private/x", "a"), "not theirs"))
    activity = MemoryActivity()
    activity.add(minute_of(time.time()) - 1, [Usage("sum", 6, 6, Slo()), Usage("private", 1, 1, Slo())])
    keeper = Keeper(
        activity,
        guarded.service.snapshots,
        guarded.backends,
        budget_usd_per_h=0.5,
        planner=lambda *facts, **bounds: Plan(planned, 0.1, 0.3, {"a": ("sum/small@a:1", "private/x@a:1")}, {"a": 1}),
        reported=guarded.metrics.kept_warm,
    )
    headers = {"X-API-Key": "alice-key"}
    assert (await guarded.http.get("/v1/capacity")).status_code == 401
    nothing = (await guarded.http.get("/v1/capacity", headers=headers)).json()
    assert (nothing["budget_usd_per_h"], nothing["at"], nothing["actions"]) == (0.0, None, [])
    await keeper.once()
    keyring = Keyring({key_digest("alice-key"): Principal("alice", "acme")})
    app = create_app(guarded.service, metrics=guarded.metrics, keyring=keyring, keeper=keeper)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        told = (await http.get("/v1/capacity", headers=headers)).json()
        metrics = (await http.get("/metrics", headers=headers)).text
    CapacityResponse.model_validate(told)
    assert (told["budget_usd_per_h"], told["usd_per_h"]) == (0.5, 0.1)
    assert (told["gain_usd_per_h"], told["residency"]) == (0.3, {"a": ["sum/small@a:1"]})
    assert [demand["task"] for demand in told["demands"]] == ["sum"]
    assert [(a["placement"], a["result"], a["reason"]) for a in told["actions"]] == [
        ("sum/small@a:1", "done", "soon"),
    ]
    assert 'modelless_capacity_actions_total{action="warm",result="done",tier="a"} 1.0' in metrics
    assert 'modelless_capacity_actions_total{action="warm",result="failed",tier="a"} 1.0' in metrics
    assert "modelless_capacity_planned_usd_per_hour 0.1" in metrics


async def test_a_tenant_is_held_to_its_quota_from_the_first_request_on(guarded: Gateway) -> None:
    keyring = Keyring({key_digest("alice-key"): Principal("alice", "acme")}, {"acme": 2.0})
    quota = Buckets(own=keyring.quotas, clock=lambda: 0.0)
    app = create_app(guarded.service, metrics=guarded.metrics, keyring=keyring, quota=quota)
    headers = {"X-API-Key": "alice-key"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        answers = [await http.get("/v1/tasks", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error"]["code"] == "quota_exceeded"
    assert answers[2].headers["retry-after"] == "1"


async def test_a_store_that_cannot_be_reached_is_503_and_does_not_say_where(gateway: Gateway, tmp_path: Path) -> None:
    generations = SqliteGenerations(tmp_path / "generations.db")
    generations.close()
    app = create_app(gateway.service, metrics=gateway.metrics, generations=generations)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        for path in ("/v1/generations", "/v1/generations/g"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
            assert "generations.db" not in answer.text


def test_every_route_is_documented() -> None:
    gateway = Gateway()
    routed = set(_routed(gateway))
    documented = set(gateway_paths())
    aliases = {"/v2/", "/openapi.json", "/docs"}
    assert {path for path in routed if "/versions/" not in path} - aliases == documented


def test_what_counts_against_a_quota_says_that_it_may_be_refused() -> None:
    from gateway.http.openapi import document

    operations = [operation for path in document("1")["paths"].values() for operation in path.values()]
    assert all(("401" in each["responses"]) == ("429" in each["responses"]) for each in operations)
    assert [each["operationId"] for each in operations if "403" in each["responses"]] == ["feedback"]


def _routed(gateway: Gateway) -> Iterator[str]:
    for route in create_app(gateway.service, metrics=gateway.metrics).routes:
        yield route.path  # type: ignore[attr-defined]


def gateway_paths() -> list[str]:
    from gateway.http.openapi import document

    return list(document("1")["paths"])


async def test_a_frontier_may_be_asked_for_another_race(gateway: Gateway) -> None:
    def names(response: httpx.Response) -> list[str]:
        assert response.status_code == 200
        return [point["variant"] for point in response.json()["frontier"]]

    path = "/v1/tasks/sum/frontier"
    assert names(await gateway.http.get(path, params={"rows": 64, "start": "cold", "tier": "a"})) == ["sum/small"]
    assert names(await gateway.http.get(path, params={"rows": 65})) == []
    (point,) = (await gateway.http.get(path, params={"tier": "b"})).json()["frontier"]
    assert (point["accuracy_low"], point["accuracy_high"], point["load_ms"], point["memory_mb"]) == (
        0.99,
        0.99,
        0.0,
        1.0,
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"rows": "0"}, "rows"),
        ({"rows": "-1"}, "rows"),
        ({"rows": "many"}, "rows"),
        ({"rows": "9" * 5000}, "rows"),
        ({"rows": "²"}, "rows"),
        ({"start": "hot"}, "start"),
        ({"tier": "c"}, "tier"),
        ({"by": "cost"}, "by"),
    ],
)
async def test_a_race_that_cannot_be_is_422_and_named(gateway: Gateway, query: dict[str, str], field: str) -> None:
    response = await gateway.http.get("/v1/tasks/sum/frontier", params=query)
    assert response.status_code == 422
    assert response.json()["error"]["field"] == field


async def test_what_was_tried_is_listed(gateway: Gateway) -> None:
    attempt = Tried("sum", "tiny", Recipe("int8", "small"), Outcome.DROPPED, "no better than small", (("p50_ms", 2.0),))
    snapshots = gateway.service.snapshots
    snapshots.replace(snapshots.view()[0].with_tried(attempt))
    assert (await gateway.http.get("/v1/tasks/sum/frontier")).json()["tried"] == [
        {
            "name": "tiny",
            "generator": "int8",
            "parent": "small",
            "parameters": {},
            "outcome": "dropped",
            "reason": "no better than small",
            "numbers": {"p50_ms": 2.0},
        }
    ]


async def feedback(gateway: Gateway, body: Any, task: str = "sum", **options: Any) -> httpx.Response:
    return await gateway.http.post(f"/v1/tasks/{task}/feedback", json=body, **options)


async def test_a_judgement_is_answered_with_the_accuracy_that_follows(gateway: Gateway) -> None:
    decision_id = (await gateway.predict()).json()["decision"]["decision_id"]
    response = await feedback(gateway, {"decision_id": decision_id, "expected": [[6.0], [16.0]]})
    assert response.status_code == 200
    judged = response.json()
    assert (judged["variant"], judged["rows"], judged["right"], judged["drifted"]) == ("sum/large", 2, 1, False)
    assert judged["accuracy"]["value"] == pytest.approx(100 / 102)
    assert judged["accuracy"]["low"] < judged["accuracy"]["value"] < judged["accuracy"]["high"]
    assert (await gateway.predict()).json()["decision"]["accuracy"] == judged["accuracy"]["value"]
    again = await feedback(gateway, {"decision_id": decision_id, "expected": [6.0, 15.0]})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_judged")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"decision_id": 5}, 422, "decision_id"),
        ({"decision_id": None}, 422, "decision_id"),
        ({"expected": "15"}, 422, "expected"),
        ({"expected": [[6.0]]}, 422, "expected"),
        ({"expected": [["a"], ["b"]]}, 422, "expected"),
        ({"expected": [6.0, None]}, 422, "expected"),
        ({"label": 3}, 422, "label"),
        ({"decision_id": "nobody"}, 404, "decision_id"),
        ({"decision_id": "x" * 4000}, 404, "decision_id"),
    ],
)
async def test_a_judgement_that_cannot_be_is_named(
    gateway: Gateway, change: dict[str, Any], status: int, field: str
) -> None:
    decision_id = (await gateway.predict()).json()["decision"]["decision_id"]
    good = {"decision_id": decision_id, "expected": [6.0, 15.0]}
    response = await feedback(gateway, {**good, **change})
    assert response.status_code == status
    error = response.json()["error"]
    assert field in (error.get("field"), *error)
    assert len(response.content) < 1000
    missing = await feedback(gateway, {name: value for name, value in good.items() if name != "expected"})
    assert (missing.status_code, missing.json()["error"]["field"]) == (422, "expected")
    assert (await feedback(gateway, good)).json()["judged_rows"] == 2


async def test_a_failed_decision_has_nothing_to_judge(gateway: Gateway) -> None:
    for backend in gateway.backends.values():
        backend.script.append(ExecutionFailed("no"))
    failed = (await gateway.predict()).json()["error"]["decision_id"]
    response = await feedback(gateway, {"decision_id": failed, "expected": [6.0, 15.0]})
    assert response.status_code == 404
    assert "no answer" in response.json()["error"]["message"]


@pytest.mark.parametrize("face", ["plan", "feedback"])
async def test_a_large_body_is_read_beside_the_loop(
    gateway: Gateway, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[threading.Thread] = []

    def loads(body: bytes) -> Any:
        readers.append(threading.current_thread())
        return text.loads(body)

    monkeypatch.setattr(bodies, "loads", loads)
    monkeypatch.setattr(shared, "OFF_LOOP_BYTES", 8)
    body = {"decision_id": "nobody's", "expected": []} if face == "feedback" else {"nothing": 1}
    response = await gateway.http.post(f"/v1/tasks/sum/{face}", json=body)
    assert response.status_code == {"plan": 422, "feedback": 404}[face]
    assert readers != []
    assert threading.current_thread() not in readers


async def test_feedback_needs_a_credential_and_ones_own_task(guarded: Gateway) -> None:
    body, key = {"decision_id": "d", "expected": [1.0]}, {"X-API-Key": "alice-key"}
    assert (await feedback(guarded, body)).status_code == 401
    assert (await feedback(guarded, body, "private", headers=key)).status_code == 404
    assert (await feedback(guarded, body, "nothing", headers=key)).status_code == 404
    assert (await feedback(guarded, body, headers=key)).status_code == 403  # everybody may use it, its owner judge it


async def test_a_callers_trace_goes_on_and_a_request_without_one_begins_its_own(guarded: Gateway) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from registry.otel import OpenTelemetry

    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    guarded.service.trace_with(OpenTelemetry(provider.get_tracer("test")))
    trace = "0af7651916cd43dd8448eb211c80319c"
    key = {"x-api-key": "alice-key"}

    for headers in ({**key, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}, key, {}):
        await guarded.http.post("/v1/tasks/sum/predict", json={"inputs": {"x": ROWS}}, headers=headers)
    provider.shutdown()

    traced: dict[int, list[str]] = {}
    for span in sorted(spans.get_finished_spans(), key=lambda span: span.start_time):
        traced.setdefault(span.context.trace_id, []).append(span.name)
    whole = ["request", "authenticate", "decide", "dispatch", "attempt"]
    assert list(traced.values()) == [whole, whole, ["request", "authenticate"]]
    assert f"{next(iter(traced)):032x}" == trace
