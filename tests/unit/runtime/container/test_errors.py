"""The table of faults: every one has a status and a code, the nearest class counts, secrets stay inside."""

from __future__ import annotations

import pytest

from registry.errors import InvalidValue
from runtime import errors as faults
from runtime.container.errors import UNFORESEEN, message, retry_after, told


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.InvalidTensor("x", "is bad", "good"), 400, "INVALID_ARGUMENT"),
        (faults.InvalidBody("bad"), 400, "INVALID_ARGUMENT"),
        (faults.UnknownEncoding("gzip"), 415, "UNIMPLEMENTED"),
        (InvalidValue("port", "is bad", "choose another"), 400, "INVALID_ARGUMENT"),
        (faults.UnknownModel("m"), 404, "NOT_FOUND"),
        (faults.WrongMethod("GET", ("POST",)), 405, "UNIMPLEMENTED"),
        (faults.CrossSite("evil"), 403, "PERMISSION_DENIED"),
        (faults.AlreadyLoaded("m"), 409, "ALREADY_EXISTS"),
        (faults.Refused("busy", 1.0), 429, "RESOURCE_EXHAUSTED"),
        (faults.NotServing("stopping"), 503, "UNAVAILABLE"),
        (faults.Unreadable("disk"), 503, "UNAVAILABLE"),
        (faults.Expired("late"), 504, "DEADLINE_EXCEEDED"),
        (faults.NoRoom("full"), 507, "RESOURCE_EXHAUSTED"),
        (faults.Unloadable("broken"), 500, "INTERNAL"),
        (faults.ExecutionFailed("index"), 400, "INVALID_ARGUMENT"),
        (faults.CorruptArtifact("bytes"), 500, "DATA_LOSS"),
        (faults.ReplyTooLarge("big"), UNFORESEEN.status, UNFORESEEN.code),
        (faults.Defect("oops"), UNFORESEEN.status, UNFORESEEN.code),
        (ZeroDivisionError("oops"), UNFORESEEN.status, UNFORESEEN.code),
    ],
)
def test_each_fault_travels_as_the_table_says(fault: Exception, status: int, code: str) -> None:
    assert told(fault) == (status, code)


def test_only_what_was_foreseen_is_told_in_words() -> None:
    assert message(faults.NoRoom("it does not fit")) == "it does not fit"
    assert "secret" not in message(KeyError("secret"))
    assert "secret" not in message(faults.Defect("KeyError: secret"))


@pytest.mark.parametrize(("after_s", "whole"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2)])
def test_trying_again_is_in_whole_seconds_rounded_up(after_s: float, whole: int) -> None:
    assert retry_after(faults.Refused("busy", after_s)) == whole
    assert retry_after(faults.NoRoom("full")) is None
