"""Every kind of bad input, over real HTTP: the right status, the culprit named, and nothing changed by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.running import Running
from registry.catalogue import Catalogue
from registry.model import Task, TensorSpec

ROW = [0.0] * 64
PREDICT = "/v1/tasks/digits/predict"


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Its status and its message with all details, as one text."""
    return response.status_code, json.dumps(response.json()["error"])


def test_unknown_task_is_404(http: httpx.Client) -> None:
    for response in (
        http.post("/v1/tasks/digit/predict", json={"inputs": [ROW]}),
        http.post("/v1/tasks/digit/plan", json={}),
        http.get("/v1/tasks/digit"),
        http.get("/v1/tasks/digit/frontier"),
        http.get("/v1/decisions/nothing"),
        http.get("/v2/models/digit"),
        http.post("/v2/models/digit/infer", json={"inputs": []}),
    ):
        assert response.status_code == 404, response.request.url


@pytest.mark.parametrize("body", [b"", b"{", b"[1, 2", b"\xff\xfe", b'{"inputs": NaN}', b'{"inputs": [[1e999]]}'])
def test_malformed_json_is_400(http: httpx.Client, body: bytes) -> None:
    for path in (PREDICT, "/v1/tasks/digits/plan", "/v2/models/digits/infer"):
        if body or path == PREDICT:
            response = http.post(path, content=body, headers={"content-type": "application/json"})
            assert response.status_code == 400, path


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ([ROW[:63]], "64"),
        ([[ROW]], "64"),
        (ROW, "64"),
        ([], "rank 2"),
        ([["a"] * 64], "FP32"),
        ([[*ROW[:63], None]], ""),
        ({"images": [ROW]}, "images"),
        ([ROW, ROW[:3]], ""),
    ],
    ids=["extent", "rank-3", "rank-1", "empty", "text", "null", "name", "ragged"],
)
def test_wrong_tensor_is_422_naming_it(http: httpx.Client, inputs: Any, problem: str) -> None:
    name = http.get("/v1/tasks/digits").json()["inputs"][0]["name"]
    status, message = refusal(http.post(PREDICT, json={"inputs": inputs}))

    assert status == 422
    assert name in message
    assert problem in message


def test_number_beyond_the_datatype_is_422_naming_the_tensor(http: httpx.Client) -> None:
    name = http.get("/v1/tasks/digits").json()["inputs"][0]["name"]
    status, message = refusal(http.post(PREDICT, json={"inputs": [[*ROW[:63], 1e300]]}))

    assert status == 422
    assert name in message


def test_nan_in_a_binary_tensor_is_422_naming_it(http: httpx.Client) -> None:
    import numpy as np

    name = http.get("/v1/tasks/digits").json()["inputs"][0]["name"]
    data = np.full((1, 64), np.nan, np.float32).tobytes()
    tensor = {"name": name, "datatype": "FP32", "shape": [1, 64], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [tensor]}).encode()
    response = http.post(
        "/v2/models/digits/infer",
        content=header + data,
        headers={"Inference-Header-Content-Length": str(len(header))},
    )

    assert response.status_code == 422
    assert name in response.text


def test_wrong_datatype_over_v2_is_422(http: httpx.Client) -> None:
    name = http.get("/v1/tasks/digits").json()["inputs"][0]["name"]
    tensor = {"name": name, "datatype": "INT64", "shape": [1, 64], "data": [0] * 64}
    response = http.post("/v2/models/digits/infer", json={"inputs": [tensor]})

    assert response.status_code == 422
    assert name in response.text
    assert "FP32" in response.text


def test_body_over_the_limit_is_413(http: httpx.Client) -> None:
    assert http.post(PREDICT, content=b" " * (17 * 2**20)).status_code == 413


def test_body_over_the_limit_without_a_length_is_413(http: httpx.Client) -> None:
    chunk = b" " * 2**20
    assert http.post(PREDICT, content=(chunk for _ in range(17))).status_code == 413


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latency_ms", 0),
        ("latency_ms", -5),
        ("percentile", 100),
        ("min_accuracy", 1.5),
        ("max_cost_usd", -1),
        ("objective", "beauty"),
        ("on_infeasible", "panic"),
        ("latency_ms", "fast"),
        ("latency", 5),
    ],
)
def test_slo_out_of_range_is_422_naming_the_field(http: httpx.Client, field: str, value: Any) -> None:
    for path, body in ((PREDICT, {"inputs": [ROW]}), ("/v1/tasks/digits/plan", {})):
        status, message = refusal(http.post(path, json={**body, "slo": {field: value}}))
        assert status == 422
        assert field in message


def test_strict_infeasible_is_422_with_the_nearest_feasible(http: httpx.Client) -> None:
    impossible = {"latency_ms": 1000, "min_accuracy": 1.0, "on_infeasible": "strict"}
    response = http.post(PREDICT, json={"inputs": [ROW], "slo": impossible})
    nearest = response.json()["error"]["nearest"]
    again = http.post(PREDICT, json={"inputs": [ROW], "slo": nearest})

    assert response.status_code == 422
    assert nearest["min_accuracy"] < 1.0
    assert again.status_code == 200, again.text


def test_best_effort_infeasible_is_served_and_flagged(http: httpx.Client) -> None:
    response = http.post(PREDICT, json={"inputs": [ROW], "slo": {"min_accuracy": 1.0}})
    decision = response.json()["decision"]

    assert response.status_code == 200
    assert not decision["slo_met"]
    assert "min_accuracy" in decision["broken"]


@pytest.fixture
def guarded(
    home: Path,
    tmp_path: Path,
    edit: Callable[..., Catalogue],
    start: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> httpx.Client:
    """A platform with two keys, and a task that belongs to one of them."""
    spec = TensorSpec("x", "FP32", (-1, 1))
    edit(home, lambda c: c.with_tasks(Task("secret", (spec,), (spec,), "accuracy", owner="acme")))
    keys = [
        {"name": n, "tenant": n, "sha256": hashlib.sha256(f"{n}-key".encode()).hexdigest()} for n in ("acme", "other")
    ]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}))
    monkeypatch.setenv("MODELLESS_API_KEYS_FILE", str(tmp_path / "keys.json"))
    return httpx.Client(base_url=start(home).url)


def test_credentials(guarded: httpx.Client) -> None:
    def status(key: str | None, task: str = "digits") -> int:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return guarded.post(f"/v1/tasks/{task}/plan", json={}, headers=headers).status_code

    with guarded:
        assert status(None) == 401
        assert status("wrong") == 401
        assert status("other-key") == 200
        assert status("other-key", "secret") == 404
        assert status("acme-key", "secret") != 404


def test_nothing_that_was_refused_changed_the_catalogue(registered: Path, http: httpx.Client) -> None:
    from registry.stores.sqlite import SqliteStore

    store = SqliteStore(registered / "catalogue.db")
    before = store.load().to_document()
    http.post("/v1/tasks/digits/predict", content=b"{")
    http.post("/v1/tasks/nothing/predict", json={"inputs": [ROW]})
    http.post(PREDICT, json={"inputs": [ROW], "slo": {"percentile": 200}})
    after = store.load().to_document()
    store.close()

    assert before == after


def answered(http: httpx.Client, rows: int = 2) -> str:
    """A decision that can be judged."""
    response = http.post(PREDICT, json={"inputs": [ROW] * rows})
    assert response.status_code == 200, response.text
    return str(response.json()["decision"]["decision_id"])


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        ([3], "it has 1 rows"),
        ([3, 3, 3], "it has 3 rows"),
        ([], "it has 0 rows"),
        ([[3], [3]], "rank"),
        (["three", "three"], "INT64"),
        ([3.5, 3], "INT64"),
        ([3, None], "INT64"),
        (3, "list"),
        ({"label": [3, 3]}, "list"),
        ([3, [3]], "ragged"),
        ([1e30, 3], "INT64"),
    ],
)
def test_judgement_that_does_not_fit_is_422_naming_the_field(http: httpx.Client, expected: Any, problem: str) -> None:
    decision_id = answered(http)
    plan = {"slo": {"objective": "accuracy"}}
    before = http.post("/v1/tasks/digits/plan", json=plan).json()["chosen"]["accuracy"]
    response = http.post("/v1/tasks/digits/feedback", json={"decision_id": decision_id, "expected": expected})

    error = response.json()["error"]
    assert response.status_code == 422
    assert error["field"] == "expected"
    assert problem in error["message"]
    assert error["fix"]
    assert http.post("/v1/tasks/digits/plan", json=plan).json()["chosen"]["accuracy"] == before


@pytest.mark.parametrize("body", [{"expected": [3, 3]}, {"decision_id": 7, "expected": [3, 3]}, {"decision_id": "x"}])
def test_judgement_without_a_field_is_422_naming_it(http: httpx.Client, body: dict[str, Any]) -> None:
    response = http.post("/v1/tasks/digits/feedback", json=body)

    assert response.status_code == 422
    assert response.json()["error"]["field"] in {"decision_id", "expected"} - set(body) | {"decision_id"}


def test_judgement_of_what_is_not_known_is_404_and_a_second_one_409(home: Path, start: Any) -> None:
    up = start(home)
    with httpx.Client(base_url=up.url, timeout=30) as own:
        decision_id = answered(own)
        body = {"decision_id": decision_id, "expected": [3, 3]}
        for path, changed in (("digits", {"decision_id": "nothing"}), ("digit", {})):
            response = own.post(f"/v1/tasks/{path}/feedback", json={**body, **changed})
            assert response.status_code == 404, response.text
        first = own.post("/v1/tasks/digits/feedback", json=body)
        second = own.post("/v1/tasks/digits/feedback", json=body)
        variant = own.get("/v1/tasks/digits/frontier").json()["frontier"]

    assert first.status_code == 200, first.text
    assert (first.json()["rows"], first.json()["judged_rows"]) == (2, 2)
    assert first.json()["variant"] in {point["variant"] for point in variant}
    assert (second.status_code, second.json()["error"]["code"]) == (409, "already_judged")


@pytest.mark.parametrize("query", ["rows=0", "rows=x", "start=hot", "tier=moon", "colour=red"])
def test_frontier_of_a_race_that_cannot_be_is_422_naming_it(http: httpx.Client, query: str) -> None:
    response = http.get(f"/v1/tasks/digits/frontier?{query}")

    assert response.status_code == 422
    assert response.json()["error"]["field"] == query.partition("=")[0]
