"""The api function's part of judging: what comes with a receipt is checked and put into a queue; it weighs nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from gateway.auth import Principal
from gateway.errors import TooLarge, Unavailable, UnknownTask, Unprocessable
from gateway.receipts import Statement, read
from gateway.schemas import FeedbackRequest
from gateway.service import Service
from registry.errors import RegistryError
from registry.judgements import to_message
from registry.model import Task, Variant
from registry.receipt_keys import ReceiptKeys

log = logging.getLogger(__name__)

EXPECTED_LIMIT = 256 * 1024
"""Most bytes of a body that judges: the right answers of the largest receipt, in JSON with room to spare."""


class Send(Protocol):
    """Puts a message into a queue; raises Unavailable."""

    def __call__(self, body: str) -> None:
        """Return when the queue has it."""


class Feedback:
    """One environment's judgements, for one loop."""

    def __init__(
        self,
        service: Service,
        keys: ReceiptKeys,
        send: Send,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self._keys = keys
        self._send = send
        self._wall = wall

    async def accept(self, principal: Principal, name: str, body: FeedbackRequest, size: int) -> str:
        """Check a judgement and hand it on to be weighed; returns the id of the decision that it judges.

        `size` is the body's in bytes. Raises UnknownTask, Forbidden, Unprocessable, TooLarge, and Unavailable when it
        cannot be handed on now.
        """
        task = self._service.task(principal, name)
        if size > EXPECTED_LIMIT:
            raise TooLarge("the right answers are over the limit", limit_bytes=EXPECTED_LIMIT)
        if body.receipt is None:
            raise Unprocessable("receipt: is missing; give the one that came with the answer", field="receipt")
        try:
            return await asyncio.to_thread(self._accept, principal, task, body.receipt, body)
        except RegistryError as fault:
            log.warning("a judgement cannot be handed on: %s", fault)
            raise Unavailable("judgements cannot be taken now; try again later") from None

    def _accept(self, principal: Principal, task: Task, receipt: str, body: FeedbackRequest) -> str:
        # What judges is imported when the first judgement comes: no other request needs it.
        from gateway.expected import check_judge, observation, right_answers  # noqa: PLC0415

        check_judge(principal, task)
        said = read(receipt, self._keys.find, tenant=principal.tenant, task=task.name, now=self._wall())
        if body.decision_id not in (None, said.decision_id):
            raise Unprocessable("decision_id: is not the receipt's; leave it out", field="decision_id")
        variant = self._variant(said)
        right = right_answers(task, body.expected, said.output)
        observed = observation(task, variant, said.output, right, decision_id=said.decision_id, at=said.at)
        self._send(to_message(observed))
        return said.decision_id

    def _variant(self, said: Statement) -> Variant:
        variant = self._service.snapshots.view()[0].variants.get(said.variant)
        if variant is None or variant.artifact != said.artifact:
            raise UnknownTask(f"{said.variant} has been replaced since it answered {said.decision_id!r}")
        return variant
