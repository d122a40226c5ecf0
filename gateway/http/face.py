"""What every face shares: who asks, the body within its limit, and errors turned into answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.auth import Keyring, Principal, credential
from gateway.backends.protocol import Tensors
from gateway.errors import BadRequest, GatewayError, TooLarge, TooSlow
from gateway.metrics import Metrics
from gateway.quotas import Buckets, Quota
from gateway.refusals import as_gateway_error
from gateway.service import Service
from gateway.settings import BODY_LIMIT, BODY_S

T = TypeVar("T")

Endpoint = Callable[[Request], Awaitable[Response]]

OFF_LOOP_BYTES = 128 * 1024
"""Larger tensors are parsed and rendered on a thread: below it, that takes 1 ms at worst, which nobody notices."""


@dataclass(frozen=True, slots=True)
class Face:
    """The service behind a face, and what stands before it."""

    service: Service
    metrics: Metrics
    keyring: Keyring = field(default_factory=Keyring)
    body_limit: int = BODY_LIMIT
    clock: Callable[[], float] = time.monotonic
    """The service's clock."""
    body_s: float = BODY_S
    quota: Quota = field(default_factory=Buckets)

    def principal(self, request: Request) -> Principal:
        """Who asks, as `guarded` found out."""
        principal: Principal = request.state.principal
        return principal

    def _admit(self, request: Request) -> None:
        """Find out who asks, and count it; raises Unauthenticated or QuotaExceeded."""
        headers = request.headers
        principal = self.keyring.identify(credential(headers.get("authorization"), headers.get("x-api-key")))
        self.quota.take(principal)
        request.state.principal = principal

    async def body(self, request: Request) -> bytes:
        """The whole body; raises TooLarge as soon as it is known to be over the limit, before the rest is read.

        Raises TooSlow when it takes longer than `body_s`, BadRequest when the caller leaves before its end.
        """
        length = request.headers.get("content-length")
        if length is not None and (not length.isdecimal() or int(length) > self.body_limit):
            raise self._too_large()
        if request.headers.get("content-encoding", "identity") != "identity":
            raise BadRequest("compressed bodies are not taken; send the body as it is")
        try:
            async with asyncio.timeout(self.body_s):
                return await self._whole(request)
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {self.body_s:g} s; send less, or faster") from None
        except ClientDisconnect:
            raise BadRequest("the connection ended before the body did") from None

    async def _whole(self, request: Request) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self.body_limit:
                raise self._too_large()
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def guarded(
        self, endpoint: Endpoint, refusal: Callable[[GatewayError], Response], *, public: bool = False
    ) -> Endpoint:
        """The endpoint behind what every request passes: who asks, its quota, and whatever is raised as an answer.

        What is `public` may be asked for by anybody, as often as they like. This is the outermost handler of a request.
        """

        async def answer(request: Request) -> Response:
            tracer = self.service.tracer
            try:
                with tracer.continued(request.headers.get("traceparent")):
                    if public:
                        return await endpoint(request)
                    with tracer.span("request", path=request.url.path[:200]):
                        with tracer.span("authenticate"):
                            self._admit(request)
                        return await endpoint(request)
            except Exception as error:  # noqa: BLE001 - see above
                refused = as_gateway_error(error)
                self.metrics.refused(refused.code)
                return refusal(refused)

        return answer

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over {self.body_limit} bytes", limit_bytes=self.body_limit)


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """What `work` makes of `size` bytes, on a thread when they are many."""
    return work() if size <= OFF_LOOP_BYTES else await asyncio.to_thread(work)


def size_of(tensors: Tensors) -> int:
    """The bytes of some tensors; a BYTES element counts as a reference."""
    return sum(array.nbytes for array in tensors.values())
