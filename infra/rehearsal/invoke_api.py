"""Lambda's Invoke API on loopback, over pools of execution environments; it keeps no function and no history.

What is refused, and with which error type, follows the Lambda API reference (Invoke).
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.environments.invocation import Call
from gateway.environments.pool import Pool
from gateway.errors import BackendError, Throttled
from modelless_localstack.outcomes import Outcome, answered, failed, log_of

PATH = "/2015-03-31/functions/{function:path}/invocations"

FUNCTION = re.compile(
    r"^(?:arn:[^:]+:lambda:[^:]+:\d{12}:function:)?(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>[A-Za-z0-9$_-]+))?$"
)
"""A name or an ARN, with an alias or version or without."""

TAIL_BYTES = 4096
"""Of the log, in an answer (Lambda API reference, LogType)."""


@dataclass(slots=True)
class Function:
    """A function's environments, and what they have written."""

    pool: Pool
    written: bytearray = field(default_factory=bytearray)


class InvokeApi:
    """The functions by name; `app` is an ASGI application."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self._under_way: set[asyncio.Task[Outcome]] = set()
        self.app = Starlette(routes=[Route(PATH, self._invoke, methods=["POST"])])

    async def settle(self) -> None:
        """Wait until what was invoked as an event has run."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _invoke(self, request: Request) -> Response:
        named = FUNCTION.match(request.path_params["function"])
        function = self._functions.get(named["name"]) if named else None
        if named is None or function is None:
            return _refused(404, "ResourceNotFoundException", f"no function {request.path_params['function']}")
        qualifier = request.query_params.get("Qualifier") or named["qualifier"] or "$LATEST"
        payload = await request.body() or b"{}"
        work = asyncio.create_task(self._run(function, payload, request.headers, qualifier))
        if request.headers.get("x-amz-invocation-type") == "Event":
            self._under_way.add(work)
            work.add_done_callback(self._under_way.discard)
            return Response(status_code=202)
        try:
            outcome = await work
        except Throttled as fault:
            return _refused(429, "TooManyRequestsException", str(fault))
        return _answer(outcome, function, request.headers, qualifier)

    async def _run(self, function: Function, payload: bytes, headers: Mapping[str, str], qualifier: str) -> Outcome:
        """Run the function once. Raises Throttled."""
        spec = function.pool.spec
        call = Call(arn=f"{spec.arn}:{qualifier}", trace=headers.get("x-amzn-trace-id"))
        try:
            answer = await function.pool.invoke(payload, call=call)
        except Throttled:
            raise
        except BackendError as fault:
            return failed(fault, call.id)
        return answered(answer, call.id, init_ms=answer.init_ms, memory_mb=spec.memory_mb)


def _answer(outcome: Outcome, function: Function, headers: Mapping[str, str], qualifier: str) -> Response:
    said = {"X-Amz-Executed-Version": qualifier}
    if outcome.failed:
        said["X-Amz-Function-Error"] = "Unhandled"
    if headers.get("x-amz-log-type") == "Tail":
        log = log_of(outcome, bytes(function.written[-TAIL_BYTES:]).decode("utf-8", "replace"), "", qualifier)
        said["X-Amz-Log-Result"] = base64.b64encode(log.encode()[-TAIL_BYTES:]).decode()
    return Response(outcome.payload, media_type="application/json", headers=said)


def _refused(status: int, kind: str, message: str) -> Response:
    body = orjson.dumps({"Type": "User", "Message": message})
    return Response(body, status, media_type="application/json", headers={"X-Amzn-ErrorType": kind})
