"""A task registered and pushed by the command line is answered, explained and kept warm by the built functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from cli import inbox
from cli.main import main
from infra.rehearsal.stack import Rehearsal

Event = Callable[..., dict[str, Any]]
Invoke = Callable[[str, Any], Any]

DOORS = ("http-api-iam", "http-api-jwt", "function-url")


def body(answer: dict[str, Any]) -> dict[str, Any]:
    """The document of an HTTP answer that is good."""
    assert answer["statusCode"] == 200, answer
    document: dict[str, Any] = json.loads(answer["body"])
    return document


def test_push_measured_every_placement_through_the_worker(pushed: dict[str, Any]) -> None:
    assert pushed["catalogue_version"] == 1
    assert pushed["blobs"]["uploaded"] == pushed["blobs"]["needed"] > 0
    tasks = {task["task"]: task for task in pushed["tasks"]}
    assert set(tasks) == {"digits", "numbers"}
    for name, task in tasks.items():
        placements = {measured["id"].partition("@")[0] for measured in task["measured"]}
        assert placements == {f"{name}/{variant}" for variant in task["variants"]}
        for measured in task["measured"]:
            assert 0 < measured["p50_ms"] <= measured["p95_ms"]
            # A new environment imports ONNX Runtime before it can run anything.
            assert measured["init_p50_ms"] > measured["p50_ms"]
    # What is read from the bucket and opened takes its time.
    assert max(measured["load_p50_ms"] for measured in tasks["digits"]["measured"]) > 0


@pytest.mark.usefixtures("pushed")
@pytest.mark.parametrize("door", DOORS)
def test_a_pushed_task_is_answered_as_it_is_locally(
    door: str, locally: Callable[[str], dict[str, Any]], invoke: Invoke, event: Event, rows: list[list[float]]
) -> None:
    answer = body(invoke("ApiFunction:live", event(door, "POST", "/v1/tasks/digits/predict", {"inputs": rows})))
    decision = answer["decision"]

    assert decision["tier"] == "lambda-1769"
    local = locally(decision["variant"])
    assert set(answer["outputs"]) == set(local)
    for name, values in answer["outputs"].items():
        np.testing.assert_allclose(np.asarray(values), local[name], rtol=1e-5, atol=1e-6)


class Doors(httpx.BaseTransport):
    """To the api's function what is meant for a stack, as its front door would; to wherever it lies all else."""

    def __init__(self, invoke: Invoke, event: Event) -> None:
        self.elsewhere: list[str] = []
        self._invoke, self._event, self._http = invoke, event, httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx has it."""
        if request.url.host != "stack":
            self.elsewhere.append(f"{request.method} {request.url.path}")
            return self._http.handle_request(request)
        event = self._event("http-api-iam", request.method, request.url.path, json.loads(request.read()))
        answer = self._invoke("ApiFunction:live", event)
        return httpx.Response(answer["statusCode"], text=answer["body"])

    def close(self) -> None:
        """As httpx has it; the command closes it after each upload, and connections are opened again."""
        self._http.close()


@pytest.mark.usefixtures("pushed")
def test_inputs_too_large_to_send_are_uploaded_by_the_command_line(
    locally: Callable[[str], dict[str, Any]],
    invoke: Invoke,
    event: Event,
    rows: list[list[float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox, "SENT", 100)
    doors = Doors(invoke, event)
    asked = ("predict", "digits", json.dumps(rows), "--url", "http://stack", "--json")
    done = CliRunner().invoke(main, asked, obj=doors, catch_exceptions=False)

    assert done.exit_code == 0, done.output
    (put,) = doors.elsewhere
    assert put.startswith("PUT ")
    assert "/inbox/" in put
    answer = json.loads(done.stdout)
    for name, values in locally(answer["decision"]["variant"]).items():
        np.testing.assert_allclose(np.asarray(answer["outputs"][name]), values, rtol=1e-5, atol=1e-6)


def test_each_caller_sees_what_is_theirs_and_nobody_sees_nothing(
    pushed: dict[str, Any], invoke: Invoke, event: Event
) -> None:
    for door, theirs in (
        ("http-api-iam", {"digits", "numbers"}),
        ("http-api-jwt", {"digits"}),
        ("function-url", {"digits"}),
    ):
        tasks = body(invoke("ApiFunction:live", event(door, path="/v1/tasks")))["tasks"]
        assert {task["name"] for task in tasks} == theirs
    anonymous = event("function-url", path="/v1/tasks")
    del anonymous["requestContext"]["authorizer"]
    assert invoke("ApiFunction:live", anonymous)["statusCode"] == 401


def test_an_unknown_task_is_refused_in_the_documents_of_one_machine(
    pushed: dict[str, Any], invoke: Invoke, event: Event
) -> None:
    answer = invoke("ApiFunction:live", event("http-api-iam", "POST", "/v1/tasks/digit/predict", {"inputs": [[1]]}))
    assert answer["statusCode"] == 404
    assert "digit" in json.loads(answer["body"])["error"]["message"]


def test_the_scheduler_explains_what_it_would_choose(pushed: dict[str, Any], invoke: Invoke) -> None:
    decision = invoke("SchedulerFunction:live", {"task": "digits", "rows": 2, "slo": {"latency_ms": 20_000}})

    assert decision["catalogue_version"] >= pushed["catalogue_version"]
    assert decision["chosen"]["placement"] in {m["id"] for task in pushed["tasks"] for m in task["measured"]}
    assert decision["feasible"]
    assert set(decision["why_not"]) >= {e["placement"] for e in decision["ranked"]} - {decision["chosen"]["placement"]}


def test_an_impossible_bound_is_told_from_the_measurements(pushed: dict[str, Any], invoke: Invoke) -> None:
    decision = invoke("SchedulerFunction:live", {"task": "digits", "slo": {"latency_ms": 0.001}})

    assert not decision["feasible"]
    assert decision["broken"] == ["latency_ms"]
    assert decision["nearest"]["latency_ms"] > 0.001


def test_inputs_and_answers_are_in_no_log(
    pushed: dict[str, Any], stack: Rehearsal, invoke: Invoke, event: Event, rows: list[list[float]]
) -> None:
    told = [[round(value + 0.4375, 4) for value in row] for row in rows]
    body(invoke("ApiFunction:live", event("http-api-iam", "POST", "/v1/tasks/digits/predict", {"inputs": told})))
    for name in stack.functions:
        assert "0.4375" not in stack.written(name), name
