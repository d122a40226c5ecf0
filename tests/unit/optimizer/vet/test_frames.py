"""Verdicts and models through a pipe: what was written, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.frames import Verdict, read_model, read_verdict, write_model, write_verdict


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends for reading and for writing; a test that wants the end of the stream closes the latter."""
    receiving, sending = os.pipe()
    yield receiving, sending
    for end in (receiving, sending):
        try:
            os.close(end)
        except OSError:
            continue


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(None),
        Verdict(None, "", b"rewritten"),
        Verdict(Reason.TOO_DEEP, "too “deep”"),
        Verdict(None, "", bytes(9000)),
    ],
)
def test_a_verdict_arrives_as_it_was_given(pipe: tuple[int, int], verdict: Verdict) -> None:
    write_verdict(pipe[1], verdict)

    assert read_verdict(pipe[0], 10_000) == verdict


def test_a_long_story_is_cut(pipe: tuple[int, int]) -> None:
    write_verdict(pipe[1], Verdict(Reason.CRASHED, "x" * 10**4))

    read = read_verdict(pipe[0], 0)
    assert read is not None
    assert read.detail == "x" * 1000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00",
        b"\xff\xff\xff\xff" + bytes(8),
        b"\x00\x00\x00\x02" + b"\xff" * 8 + b"{}",
        b"\x00\x00\x00\x02" + bytes(8) + b"{}",
        b"\x00\x00\x00\x02" + bytes(8) + b"[]",
        b"\x00\x00\x00\x04" + bytes(8) + b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x22" + bytes(8) + b'{"reason": "nonsense", "detail": ""}'[:34],
    ],
)
def test_what_is_no_verdict_is_none(pipe: tuple[int, int], data: bytes) -> None:
    os.write(pipe[1], data)
    os.close(pipe[1])

    assert read_verdict(pipe[0], 1000) is None


def test_a_model_arrives_and_then_the_end(pipe: tuple[int, int]) -> None:
    write_model(pipe[1], b"model")
    write_model(pipe[1], b"")
    os.close(pipe[1])

    assert [read_model(pipe[0]), read_model(pipe[0])] == [b"model", b""]
    with pytest.raises(EOFError):
        read_model(pipe[0])


def test_a_verdict_judges_its_model() -> None:
    refused = Verdict(Reason.OUT_OF_TIME, "it is slow").judge(b"model")

    assert isinstance(refused, ModelRefused)
    assert str(refused) == "model: it is slow; export a model that ends soon, whatever its input"
    assert Verdict(None).judge(b"model") == b"model"
    assert Verdict(None, "", b"other").judge(b"model") == b"other"
