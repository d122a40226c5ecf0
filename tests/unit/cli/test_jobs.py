"""`submit` hands in and may wait, `jobs` lists and shows, `cancel` gives up; what failed is an exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import Result

Invoke = Callable[..., Result]

SERVED = {
    "decision_id": "d1",
    "variant": "flowers/small",
    "tier": "inline",
    "latency_ms": 4.0,
    "predicted_latency_ms": 5.0,
    "cold_start": False,
    "loaded": False,
    "accuracy": 0.9,
    "cost_usd": 0.0,
    "slo_met": True,
    "broken": [],
}


def job(state: str, **changes: Any) -> dict[str, Any]:
    times = {"submitted_at": "2026-01-01T00:00:00.000+00:00", "expires_at": "2026-01-02T00:00:00.000+00:00"}
    empty = {"started_at": None, "ended_at": None, "result": None, "error": None}
    return {"id": "j1", "task": "flowers", "state": state, **times, **empty, **changes}


ANSWER = {"id": "j1", "task": "flowers", "outputs": {"label": [2]}, "decision": SERVED}
DONE = job("succeeded", result=ANSWER)
FAILED = job("failed", error={"code": "infeasible", "message": "no placement holds it"})


class Platform:
    """Answers one submission, and then looks at the job with what it becomes."""

    def __init__(self, *becomes: dict[str, Any]) -> None:
        self.asked: list[httpx.Request] = []
        self.becomes = list(becomes)
        self.submitted = job("queued")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.method == "POST":
            return httpx.Response(202, json=self.submitted)
        if request.method == "DELETE":
            return httpx.Response(200, json=job("cancelled"))
        if request.url.path == "/v1/jobs":
            return httpx.Response(200, json={"jobs": self.becomes})
        return httpx.Response(200, json=self.becomes.pop(0))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.jobs.FIRST_LOOK_S", 0.0)


def run(invoke: Invoke, platform: Platform, *arguments: str) -> Result:
    return invoke(*arguments, obj=httpx.MockTransport(platform))


def test_submitting_hands_in_inputs_hints_and_the_key(invoke: Invoke) -> None:
    platform = Platform()
    result = run(invoke, platform, "submit", "flowers", "[[1, 2]]", "--min-accuracy", "0.9", "--key", "k")
    assert result.exit_code == 0
    (asked,) = platform.asked
    assert (asked.url.path, asked.headers["idempotency-key"]) == ("/v1/tasks/flowers/jobs", "k")
    assert json.loads(asked.content) == {"inputs": [[1, 2]], "slo": {"min_accuracy": 0.9}}
    assert "j1" in result.stdout
    assert "modelless jobs j1" in result.stdout


def test_waiting_ends_with_the_answer(invoke: Invoke) -> None:
    platform = Platform(job("queued"), job("running"), DONE)
    result = run(invoke, platform, "submit", "flowers", "[[1, 2]]", "--wait")
    assert result.exit_code == 0
    assert "label: [2]" in result.stdout
    assert "flowers/small" in result.stdout
    assert [r.url.path for r in platform.asked[1:]] == ["/v1/jobs/j1"] * 3


def test_as_json_the_answer_is_all_that_is_printed(invoke: Invoke) -> None:
    result = run(invoke, Platform(DONE), "submit", "flowers", "[[1, 2]]", "--wait", "--json")
    assert json.loads(result.stdout) == DONE


def test_waiting_for_what_a_key_had_done_before_ends_with_its_answer(invoke: Invoke) -> None:
    platform = Platform(DONE)
    platform.submitted = job("succeeded")
    result = run(invoke, platform, "submit", "flowers", "[[1, 2]]", "--wait", "--key", "k")
    assert result.exit_code == 0
    assert "label: [2]" in result.stdout


@pytest.mark.parametrize("key", ["caf\u00e9", "a\nb", "a\x00"])
def test_a_key_that_fits_in_no_header_is_bad_input(invoke: Invoke, key: str) -> None:
    platform = Platform()
    result = run(invoke, platform, "submit", "flowers", "[[1, 2]]", "--key", key)
    assert result.exit_code == 2
    assert "--key: " in result.stderr
    assert not platform.asked


@pytest.mark.parametrize(("ended", "said"), [(FAILED, "no placement holds it"), (job("cancelled"), "was cancelled")])
def test_what_came_to_nothing_is_a_failure(invoke: Invoke, ended: dict[str, Any], said: str) -> None:
    result = run(invoke, Platform(ended), "submit", "flowers", "[[1, 2]]", "--wait")
    assert result.exit_code == 1
    assert said in result.stderr


def test_jobs_are_listed_with_their_states_and_reasons(invoke: Invoke) -> None:
    platform = Platform(DONE, FAILED)
    result = run(invoke, platform, "jobs", "--limit", "7")
    for text in ("j1", "flowers", "succeeded", "failed", "no placement holds it"):
        assert text in result.stdout
    assert platform.asked[0].url.params["limit"] == "7"
    assert json.loads(run(invoke, Platform(DONE), "jobs", "--json").stdout) == {"jobs": [DONE]}
    assert run(invoke, Platform(), "jobs").stdout == "No jobs: nothing was submitted within a day.\n"


def test_an_id_stands_on_one_line_beside_a_long_reason(invoke: Invoke) -> None:
    long = {"id": "1a21f533fc5bbefd9b57d3010c588b4", "error": {"code": "infeasible", "message": "no " * 100}}
    shown = run(invoke, Platform(job("failed", ended_at="2026-01-01T00:00:01.000+00:00", **long)), "jobs").stdout
    assert f"{long['id']} " in shown
    assert "2026-01-01 00:00:01 " in shown


def test_one_job_is_shown_with_its_answer_or_why_there_is_none(invoke: Invoke) -> None:
    assert "label: [2]" in run(invoke, Platform(DONE), "jobs", "j1").stdout
    shown = run(invoke, Platform(FAILED), "jobs", "j1")
    assert (shown.exit_code, "infeasible: no placement holds it" in shown.stdout) == (0, True)
    assert json.loads(run(invoke, Platform(FAILED), "jobs", "j1", "--json").stdout) == FAILED


def test_cancelling_says_what_became_of_it(invoke: Invoke) -> None:
    platform = Platform()
    result = run(invoke, platform, "cancel", "j1")
    assert (platform.asked[0].method, platform.asked[0].url.path) == ("DELETE", "/v1/jobs/j1")
    assert "cancelled" in result.stdout


def test_a_refusal_is_bad_input(invoke: Invoke) -> None:
    refused = httpx.MockTransport(
        lambda _: httpx.Response(409, json={"error": {"code": "job_ended", "message": "job j1 has succeeded"}})
    )
    result = invoke("cancel", "j1", obj=refused)
    assert (result.exit_code, "has succeeded" in result.stderr) == (2, True)


@pytest.mark.parametrize("command", ["jobs", "cancel"])
def test_an_empty_id_is_refused_by_its_name(command: str, invoke: Callable[..., Result]) -> None:
    result = invoke(command, "")
    assert (result.exit_code, "ID: is empty; give" in result.stderr) == (2, True), result.output
