"""A body arrives whole, in time and within its limit, or not at all; work on large tensors leaves the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request

from gateway.errors import BadRequest, GatewayError, TooSlow
from gateway.http.errors import native_refusal
from gateway.http.face import OFF_LOOP_BYTES, Face, off_loop, size_of
from gateway.metrics import Metrics
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue


def face(**options: Any) -> Face:
    return Face(Service(Snapshots(Catalogue.empty()), {}), Metrics({}), **options)


def arriving(*messages: dict[str, Any]) -> Request:
    """A request whose body comes in these messages, and then no further."""
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def test_a_body_in_parts_is_put_together():
    parts = [{"type": "http.request", "body": part, "more_body": part != b"c"} for part in (b"a", b"b", b"c")]
    assert await face().body(arriving(*parts)) == b"abc"


async def test_a_body_that_stalls_is_given_up():
    with pytest.raises(TooSlow) as refused:
        await face(body_s=0.01).body(arriving({"type": "http.request", "body": b"a", "more_body": True}))
    assert native_refusal(refused.value).status_code == 408
    assert native_refusal(refused.value).headers["connection"] == "close"


async def test_a_caller_who_leaves_is_no_fault_of_ours(caplog):
    made = face()
    seen: list[GatewayError] = []

    async def endpoint(request):
        return await made.body(request)

    def refusal(error):
        seen.append(error)
        return native_refusal(error)

    leaving = arriving({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"})
    await made.guarded(endpoint, refusal)(leaving)
    assert [type(error) for error in seen] == [BadRequest]
    assert not caplog.records
    assert b'modelless_refusals_total{code="internal"}' not in made.metrics.exposition()


@pytest.mark.parametrize(("size", "here"), [(0, True), (OFF_LOOP_BYTES, True), (OFF_LOOP_BYTES + 1, False)])
async def test_only_large_work_leaves_the_loop(size, here):
    assert (await off_loop(size, threading.current_thread) is threading.current_thread()) is here


async def test_errors_come_back_from_the_thread():
    def fail():
        raise KeyError("inside")

    with pytest.raises(KeyError):
        await off_loop(OFF_LOOP_BYTES + 1, fail)


def test_the_size_is_that_of_all_tensors():
    assert size_of({"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.int8)}) == 28
