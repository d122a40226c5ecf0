"""LocalStack's plugin: what Lambda's callers and logs are told of what an environment did."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.environments.invocation import Answer, FunctionError
from gateway.errors import EnvironmentLost, InitFailed, NotReady, TimedOut

PLUGIN = Path(__file__).resolve().parents[2] / "infra" / "localstack"


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, which is imported by LocalStack only."""
    spec = importlib.util.spec_from_file_location("outcomes", PLUGIN / "modelless_localstack" / "outcomes.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "outcomes", made)
    spec.loader.exec_module(made)
    return made


def answer(payload: bytes, error: FunctionError | None = None) -> Answer:
    return Answer(payload, error, "e", cold=False, init_ms=0.0, duration_ms=12.345, peak_mb=80.2)


def test_an_answer_is_reported_and_billed_with_its_init(outcomes: ModuleType) -> None:
    outcome = outcomes.answered(answer(b"1"), "r", init_ms=100.5, memory_mb=512)

    assert (outcome.payload, outcome.failed) == (b"1", False)
    assert outcomes.log_of(outcome, "said\n", "r", "7").splitlines() == [
        "START RequestId: r Version: 7",
        "said",
        "END RequestId: r",
        "REPORT RequestId: r\tDuration: 12.35 ms\tBilled Duration: 113 ms\tMemory Size: 512 MB"
        "\tMax Memory Used: 81 MB\tInit Duration: 100.50 ms",
    ]


def test_a_warm_answer_has_no_init(outcomes: ModuleType) -> None:
    assert outcomes.answered(answer(b"1"), "r", init_ms=0.0, memory_mb=512).remark.endswith("Max Memory Used: 81 MB")


def test_a_handler_s_error_is_told_in_the_runtime_client_s_words(outcomes: ModuleType) -> None:
    raised = answer(b'{"errorType": "KeyError"}', FunctionError("KeyError", "x"))
    large = answer(b"", FunctionError("Function.ResponseSizeTooLarge", "too large"))

    told = [outcomes.answered(each, "r", init_ms=0.0, memory_mb=512) for each in (raised, large)]
    assert all(outcome.failed for outcome in told)
    assert json.loads(told[0].payload) == {"errorType": "KeyError"}
    assert json.loads(told[1].payload) == {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "too large"}


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (TimedOut("r Task timed out after 2.00 seconds"), "Sandbox.Timedout", "Task timed out after 2.00 seconds"),
        (EnvironmentLost("environment e: left\nlog", "left"), "Runtime.ExitError", "left"),
        (NotReady("fn: cannot start\nlog"), "Runtime.ExitError", "fn: cannot start"),
    ],
)
def test_no_answer_is_told_as_lambda_tells_it(outcomes: ModuleType, fault: Any, kind: str, message: str) -> None:
    outcome = outcomes.failed(fault, "r")

    assert outcome.failed
    assert json.loads(outcome.payload) == {"errorType": kind, "errorMessage": f"RequestId: r Error: {message}"}
    assert outcomes.log_of(outcome, "", "r", "7").endswith(f"END RequestId: r\nRequestId: r Error: {message}\n")


def test_an_init_that_failed_is_told_in_the_runtime_client_s_words(outcomes: ModuleType) -> None:
    outcome = outcomes.failed(InitFailed("fn: INIT failed", b'{"errorType": "Runtime.ImportModuleError"}'), "")

    assert json.loads(outcome.payload) == {"errorType": "Runtime.ImportModuleError"}
