"""Gives an answer the receipt that it can be judged by; reads a key and keeps nothing.

The key is read on a thread while the answer is made, and remembered by its store: no answer waits for it but the first.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace

from gateway.auth import Principal
from gateway.receipts import Statement, sign
from gateway.service import Answer, Service
from registry.errors import RegistryError
from registry.model import Task
from registry.receipt_keys import ReceiptKey, ReceiptKeys

log = logging.getLogger(__name__)

KEY_WAIT_S = 1.0
"""Longest that an answer waits for the key after its worker has answered: an answer is worth more than a receipt."""


class Issuer:
    """Signs what one service answers, for its loop."""

    def __init__(self, service: Service, keys: ReceiptKeys, *, thread: Executor | None = None) -> None:
        self._service = service
        self._keys = keys
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="receipts")

    def begin(self, principal: Principal, task: Task) -> Future[ReceiptKey] | None:
        """Begin to get the key for an answer to come; None where the principal cannot judge it."""
        return self._thread.submit(self._keys.current) if principal.tenant == task.owner and task.judged else None

    async def signed(self, answer: Answer, key: Future[ReceiptKey] | None) -> Answer:
        """The answer that was just given, with its receipt; without where it cannot be judged, or no key is to be had.

        An answer is not sought that is not the service's own, or is not kept by it (`gateway.decisions`).
        """
        decision_id = answer.decision.decision_id
        record, output = self._service.log.get(decision_id), self._service.log.answer(decision_id)
        if key is None or record is None or output is None:
            return answer
        variant = record.catalogue.variants[answer.decision.variant]
        statement = Statement(record.id, variant.id, variant.artifact, record.tenant, record.at, output)
        try:
            async with asyncio.timeout(KEY_WAIT_S):
                receipt = sign(statement, await asyncio.wrap_future(key))
        except (RegistryError, TimeoutError) as fault:
            log.warning("no key for a receipt: %s", fault)
            return answer
        return replace(answer, decision=replace(answer.decision, receipt=receipt))
