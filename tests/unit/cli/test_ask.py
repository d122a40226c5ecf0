"""Questions to a platform, over a transport in memory: what is sent, what people see, how refusals end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

Invoke = Callable[..., Result]

SERVED = {
    "decision_id": "d1",
    "task": "flowers",
    "variant": "flowers/large",
    "tier": "inline",
    "placement": "flowers/large@inline:1",
    "predicted_latency_ms": 4.2,
    "latency_ms": 3.9,
    "run_ms": 3.5,
    "accuracy": 0.97,
    "cost_usd": 1e-7,
    "cold_start": False,
    "loaded": True,
    "slo_met": False,
    "broken": ["max_cost_usd"],
    "reason": "highest effective accuracy",
    "attempts": [],
}
CHOSEN = {
    "placement": "flowers/large@inline:1",
    "variant": "flowers/large",
    "tier": "inline",
    "threads": 1,
    "predicted_latency_ms": 4.2,
    "p50_ms": 4.0,
    "wait_ms": 0.0,
    "on_time": 1.0,
    "accuracy": 0.97,
    "effective_accuracy": 0.97,
    "cost_usd": 1e-7,
    "cold": False,
    "load": True,
    "broken": ["max_cost_usd"],
}
DECISION = {
    "task": "flowers",
    "rows": 1,
    "slo": {"latency_ms": 100.0, "percentile": 95.0, "max_cost_usd": None, "objective": "accuracy"},
    "catalogue_version": 2,
    "feasible": False,
    "broken": ["max_cost_usd"],
    "nearest": {"latency_ms": 100.0, "max_cost_usd": 1e-7},
    "reason": "highest effective accuracy",
    "chosen": CHOSEN,
    "ranked": [CHOSEN],
    "why_not": {"flowers/small@inline:1": "less accurate"},
}


class Platform:
    """Answers with canned documents and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.refusal: httpx.Response | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.path == "/v1/tasks":
            return httpx.Response(200, json={"tasks": [{"name": "flowers"}]})
        if self.refusal is not None:
            return self.refusal
        return httpx.Response(200, json=_canned(request.url.path.rsplit("/", 1)[1]))

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


def _canned(what: str) -> dict[str, Any]:
    return {
        "predict": {"id": "d1", "outputs": {"label": list(range(12))}, "decision": SERVED},
        "plan": DECISION,
        "d1": {**DECISION, "decision_id": "d1", "at": 0.0, "served": SERVED, "error": None},
    }[what]


@pytest.fixture
def platform() -> Platform:
    return Platform()


def test_predict_sends_inputs_and_only_the_hints_given(invoke: Invoke, platform: Platform) -> None:
    result = invoke(
        "predict", "flowers", "[[1, 2, 3, 4]]", "--latency-ms", "20", "--api-key", "k", "--json", obj=platform.transport
    )
    (request,) = platform.asked

    assert json.loads(result.stdout)["decision"] == SERVED
    assert request.url.path == "/v1/tasks/flowers/predict"
    assert request.headers["authorization"] == "Bearer k"
    assert json.loads(request.content) == {"inputs": [[1, 2, 3, 4]], "slo": {"latency_ms": 20.0}}


def test_predict_shows_outputs_placement_and_what_broke(invoke: Invoke, platform: Platform) -> None:
    shown = invoke("predict", "flowers", "[[1, 2, 3, 4]]", obj=platform.transport).stdout

    assert "label: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] … 2 more" in shown
    assert "by flowers/large on inline in 3.90 ms (predicted 4.20 ms), loaded" in shown
    assert "SLO not met: max_cost_usd" in shown
    assert "modelless explain d1" in shown


def test_predict_reads_a_file_or_stdin(invoke: Invoke, platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "inputs.json"
    file.write_text('{"features": [[1, 2, 3, 4]]}')
    invoke("predict", "flowers", str(file), obj=platform.transport)
    invoke("predict", "flowers", "-", obj=platform.transport, input="[[5]]")

    assert [json.loads(r.content)["inputs"] for r in platform.asked] == [{"features": [[1, 2, 3, 4]]}, [[5]]]


@pytest.mark.parametrize("inputs", ["[1, 2", "no-such-file.json"])
def test_inputs_that_cannot_be_read_are_bad_input(inputs: str, invoke: Invoke, platform: Platform) -> None:
    result = invoke("predict", "flowers", inputs, obj=platform.transport)

    assert result.exit_code == 2
    assert "JSON" in result.stderr
    assert platform.asked == []


def test_plan_shows_the_ranking_and_why_not(invoke: Invoke, platform: Platform) -> None:
    shown = invoke("plan", "flowers", "--rows", "3", "--objective", "cost", obj=platform.transport).stdout

    assert json.loads(platform.asked[0].content) == {"rows": 3, "slo": {"objective": "cost"}}
    assert "Chosen: flowers/large@inline:1: highest effective accuracy" in shown
    assert "No placement holds max_cost_usd." in shown
    assert "Nearest SLO that can be held: latency_ms=100.0, max_cost_usd=1e-07" in shown
    assert "less accurate" in shown


def test_explain_shows_what_came_of_it(invoke: Invoke, platform: Platform) -> None:
    shown = invoke("explain", "d1", obj=platform.transport).stdout

    assert platform.asked[0].url.path == "/v1/decisions/d1"
    assert "Served by flowers/large@inline:1 in 3.90 ms (predicted 4.20 ms)" in shown


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (404, 2, "did you mean flowers?"),
        (401, 2, "--api-key"),
        (422, 2, "HTTP 422"),
        (429, 1, "HTTP 429"),
        (503, 1, "HTTP 503"),
    ],
)
def test_refusals_end_in_a_message_and_a_code(
    status: int, code: int, hint: str, invoke: Invoke, platform: Platform
) -> None:
    platform.refusal = httpx.Response(status, json={"error": {"code": "x", "message": "it said no"}})
    result = invoke("plan", "flower", obj=platform.transport)

    assert result.exit_code == code
    assert "it said no" in result.stderr
    assert hint in result.stderr
    assert result.stdout == ""


def test_no_server_says_how_to_start_one(invoke: Invoke) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    result = invoke("plan", "flowers", obj=httpx.MockTransport(refuse))

    assert result.exit_code == 1
    assert "modelless up" in result.stderr


def test_a_foreign_server_is_a_failure(invoke: Invoke, platform: Platform) -> None:
    platform.refusal = httpx.Response(500, text="<html>")

    assert invoke("plan", "flowers", obj=platform.transport).exit_code == 1


def test_a_server_of_another_kind_is_named(invoke: Invoke, platform: Platform) -> None:
    platform.refusal = httpx.Response(200, text="<html>")
    result = invoke("explain", "d1", obj=platform.transport)

    assert result.exit_code == 1
    assert "is it Modelless?" in result.stderr


def test_half_a_character_is_told_from_a_number_that_is_none(invoke: Invoke) -> None:
    result = invoke("predict", "flowers", r'["\ud800"]')
    assert result.exit_code == 2
    assert r"the request holds '\ud800', half of a character; give whole ones" in result.stderr


@pytest.mark.parametrize("arguments", [("[[NaN]]",), ("[[1]]", "--latency-ms", "nan")])
def test_what_json_cannot_carry_is_bad_input(arguments: tuple[str, ...], invoke: Invoke, platform: Platform) -> None:
    result = invoke("predict", "flowers", *arguments, obj=platform.transport)

    assert result.exit_code == 2
    assert "finite numbers" in result.stderr


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_carry_is_bad_input(key: str, invoke: Invoke, platform: Platform) -> None:
    result = invoke("plan", "flowers", "--api-key", key, obj=platform.transport)

    assert result.exit_code == 2
    assert "--api-key" in result.stderr
    assert key not in result.stderr
