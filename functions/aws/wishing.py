"""Has the optimize function look at what callers ask for in vain: each question once an hour, whoever hears it.

Who asks again is told what is being made; an environment looks that up when it would have handed the question on again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gateway.decisions import Record
from gateway.generation.wishes import Wishes, expected
from registry.documents import to_document
from registry.errors import RegistryError
from registry.generations import Asked, Generating, Generation

if TYPE_CHECKING:
    from functions.aws.feedback import Send
    from gateway.service import Service
    from registry.stores.dynamodb_claims import DynamoClaims
    from scheduler.requests import Request

log = logging.getLogger(__name__)

AGAIN_S = 3600.0
"""The same question is handed on again after this: what is made on demand takes minutes, and stays."""

WAIT_S = 0.5
"""Longest that an answer to what was asked in vain waits to be sent on: an environment that is frozen sends nothing."""

REMEMBERED = 1024
"""Questions of which it is known what answers them."""

NAME = "ASKED#"


class Answering(Protocol):
    """Knows what is being made."""

    def said(self, asked: Asked) -> Generation | None:
        """The generation that is to answer a question, while it is queued or running; raises Unavailable."""


class Wishing:
    """One environment's questions; all methods but the sending are for its loop."""

    def __init__(
        self,
        service: Service,
        claims: DynamoClaims,
        send: Send,
        generations: Answering,
        *,
        wall: Callable[[], float] = time.time,
        thread: Executor | None = None,
    ) -> None:
        self._claims, self._send, self._wall = claims, send, wall
        self._generations = generations
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="wishing")
        self._wishes = Wishes(clock=service.clock, expected=partial(_expected_now, service=service))
        self._under_way: list[Future[tuple[str, Generation | None]]] = []
        self._made: dict[str, Generation] = {}
        """What is being made, by question."""

    def observe(self, record: Record) -> None:
        """Hand on what the record's caller asked for, if nothing was expected to hold it."""
        self._wishes.observe(record)
        if self._wishes.some.is_set():
            self._under_way += [self._thread.submit(self._tell, asked) for asked in self._wishes.take()]

    def generating(self, request: Request) -> Generating | None:
        """What is being made that is to hold this request's SLO, as far as is known here."""
        return self._wishes.generating(request)

    async def settle(self) -> None:
        """Wait until what is to be handed on has been, for WAIT_S at most."""
        if self._under_way:
            await asyncio.wait([asyncio.wrap_future(each) for each in self._under_way], timeout=WAIT_S)
            for ended in [each for each in self._under_way if each.done()]:
                self._under_way.remove(ended)
                self._take(*ended.result())
            self._wishes.see(self._made)

    def _take(self, key: str, made: Generation | None) -> None:
        if made is None:
            self._made.pop(key, None)
        elif key in self._made or len(self._made) < REMEMBERED:
            self._made[key] = made

    def _tell(self, asked: Asked) -> tuple[str, Generation | None]:
        """On the thread: send the question, unless somebody has within the hour; then what came of that so far."""
        name = NAME + hashlib.sha256(asked.key.encode()).hexdigest()
        try:
            if not self._claims.claim(name, self._wall(), AGAIN_S):
                return asked.key, self._generations.said(asked)
            try:
                self._send(json.dumps(to_document(asked)))
            except RegistryError:
                self._claims.release(name)
                raise
        except RegistryError as fault:
            log.warning("a question cannot be handed on: %s", fault)
        return asked.key, None


def _expected_now(asked: Asked, service: Service) -> Asked | None:
    return expected(asked, *service.snapshots.view(), service.clock())
