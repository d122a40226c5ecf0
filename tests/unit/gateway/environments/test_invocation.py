"""An invocation is settled once, is billed in whole milliseconds, and its error is read whatever the client wrote."""

from __future__ import annotations

import asyncio

import pytest

from gateway.environments.invocation import Answer, FunctionError, Job, parse_error
from gateway.errors import EnvironmentLost


def answer(duration_ms: float) -> Answer:
    return Answer(b"{}", None, "e", cold=False, init_ms=0.0, duration_ms=duration_ms, peak_mb=1.0)


@pytest.mark.parametrize(("took", "billed"), [(0.0, 0.0), (0.1, 1.0), (7.0, 7.0), (7.01, 8.0)])
def test_what_is_begun_of_a_millisecond_is_billed(took: float, billed: float) -> None:
    assert answer(took).billed_ms == billed


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            b'{"errorType": "KeyError", "errorMessage": "x", "stackTrace": ["a", "b"]}',
            FunctionError("KeyError", "x", ("a", "b")),
        ),
        (b'{"stackTrace": "a"}', FunctionError("Header", "")),
        (b"{}", FunctionError("Header", "")),
        (b"[1]", FunctionError("Header", "[1]")),
        (b"\xff no JSON", FunctionError("Header", "\ufffd no JSON")),
    ],
)
def test_an_error_is_read_as_far_as_it_can_be(body: bytes, error: FunctionError) -> None:
    assert parse_error(body, "Header") == error


def test_an_error_without_a_kind_is_of_an_unknown_one() -> None:
    assert parse_error(b"", "") == FunctionError("Unknown", "")


async def test_the_first_to_settle_a_job_has_settled_it() -> None:
    job = Job(b"{}", asyncio.get_running_loop().create_future())
    first = answer(1.0)

    job.succeed(first)
    job.fail(EnvironmentLost("late"))
    job.succeed(answer(2.0))

    assert await job.future is first
