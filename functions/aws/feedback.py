"""The api function's part of judging: receipts for answers, and what comes with them into a queue; it weighs nothing.

Nothing is written for an answer. The key is read on a thread while the worker is waited for, once an hour.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Protocol

from gateway.auth import Principal
from gateway.errors import TooLarge, Unavailable, UnknownTask, Unprocessable
from gateway.receipts import Statement, read, sign
from gateway.schemas import FeedbackRequest
from gateway.service import Service
from registry.errors import RegistryError
from registry.judgements import to_message
from registry.model import Task, Variant
from registry.receipt_keys import ReceiptKey, ReceiptKeys

log = logging.getLogger(__name__)

EXPECTED_LIMIT = 256 * 1024
"""Most bytes of a body that judges: the right answers of the largest receipt, in JSON with room to spare."""

KEY_WAIT_S = 1.0
"""Longest that an answer waits for the key after its worker has answered: an answer is worth more than a receipt."""


class Send(Protocol):
    """Puts a message into a queue; raises Unavailable."""

    def __call__(self, body: str) -> None:
        """Return when the queue has it."""


class Feedback:
    """One environment's receipts and judgements, for one loop."""

    def __init__(
        self,
        service: Service,
        keys: ReceiptKeys,
        send: Send,
        *,
        wall: Callable[[], float] = time.time,
        thread: Executor | None = None,
    ) -> None:
        self._service = service
        self._keys = keys
        self._send = send
        self._wall = wall
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="feedback")

    def prepare(self, principal: Principal, task: Task) -> Future[ReceiptKey] | None:
        """Begin to get the key for an answer to come; None where the principal cannot judge it."""
        return self._thread.submit(self._keys.current) if principal.tenant == task.owner and task.judged else None

    async def receipt(self, key: Future[ReceiptKey] | None, decision_id: str) -> str | None:
        """The receipt of the answer that was just given; None where it cannot be judged, or no key is to be had."""
        record, output = self._service.log.get(decision_id), self._service.log.answer(decision_id)
        if key is None or record is None or record.served is None or output is None:
            return None
        variant = record.catalogue.variants[record.served.variant]
        statement = Statement(record.id, variant.id, variant.artifact, record.tenant, record.at, output)
        try:
            async with asyncio.timeout(KEY_WAIT_S):
                return sign(statement, await asyncio.wrap_future(key))
        except (RegistryError, TimeoutError) as fault:
            log.warning("no key for a receipt: %s", fault)
            return None

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
