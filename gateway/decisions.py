"""What was decided and what came of it: a bounded log of each decision's inputs; it never keeps what can be redone.

Of an answer it keeps the output that the task's metric judges, within bounds, for judgements to be held against.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import GatewayError
from registry.catalogue import Catalogue
from registry.generations import Generating
from scheduler.choose import choose
from scheduler.decision import Decision
from scheduler.fleet import Fleet
from scheduler.requests import Request

CAPACITY = 2000
"""Decisions that can still be explained. An entry holds references to shared snapshots, not copies."""


ANSWERS_BYTES = 16 * 2**20
"""Most bytes of judged outputs that are kept: 8 KB for each of CAPACITY decisions, a thousand labels or numbers."""

ANSWER_SHARE = 16
"""No single answer takes more than this part of ANSWERS_BYTES from the others."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One placement that was tried, and why it gave no answer (empty when it did)."""

    placement: str
    tier: str
    error: str
    ms: float


@dataclass(frozen=True, slots=True)
class Served:
    """How a request was answered: what was promised, and what was delivered."""

    decision_id: str
    task: str
    variant: str
    tier: str
    placement: str
    predicted_latency_ms: float
    """At the SLO's percentile, as decided."""
    latency_ms: float
    """From arrival to answer."""
    run_ms: float
    """Inside the session."""
    accuracy: float
    """Of the variant, as measured, or as judged since."""
    cost_usd: float
    """Of this request, by the tier's price model and the actual billed time."""
    cold_start: bool
    loaded: bool
    slo_met: bool
    broken: tuple[str, ...]
    """The SLO fields that did not hold."""
    reason: str
    """Why this placement was chosen."""
    attempts: tuple[Attempt, ...]
    """Every placement tried, the one that answered last."""
    generating: Generating | None = None
    """The generation that is to make what would hold the SLO, where nothing was expected to."""
    receipt: str | None = None
    """What the answer can be judged with where nobody remembers it (`gateway.receipts`); none where its id will do."""


@dataclass(frozen=True, slots=True)
class Record:
    """The inputs of one decision and its outcome: `served` or `error`."""

    id: str
    tenant: str
    request: Request
    catalogue: Catalogue
    fleet: Fleet
    now: float
    """On the service's clock."""
    at: float
    """Seconds since the epoch."""
    decided_ms: float = 0.0
    """Inside the scheduler."""
    wait_ms: float = 0.0
    """Of the answer, for a slot of its tier."""
    served: Served | None = None
    error: GatewayError | None = None

    def decision(self) -> Decision:
        """The decision, computed again from its inputs."""
        return choose(self.request, self.catalogue, self.fleet, self.now)


class DecisionLog:
    """The last CAPACITY records by id, and what was answered in the latest of them."""

    def __init__(self, capacity: int = CAPACITY, answers_bytes: int = ANSWERS_BYTES) -> None:
        self._capacity = capacity
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._answers_bytes = answers_bytes
        self._answers: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._held_bytes = 0
        self._judged: set[str] = set()

    def append(self, record: Record, answer: NDArray[Any] | None = None) -> None:
        """Keep a record, and the output of its answer that may be judged, dropping the oldest ones when full."""
        self._records[record.id] = record
        if answer is not None:
            self._keep(record.id, answer)
        if len(self._records) > self._capacity:
            oldest, _ = self._records.popitem(last=False)
            self._forget(oldest)
            self._judged.discard(oldest)

    def answer(self, decision_id: str) -> NDArray[Any] | None:
        """The output to be judged, or None when it was dropped, was too large to keep, or is judged already."""
        return self._answers.get(decision_id)

    def judged(self, decision_id: str) -> bool:
        """Whether the answer of a decision that is kept has been judged."""
        return decision_id in self._judged

    def mark_judged(self, decision_id: str) -> None:
        """An answer is judged once; its output is of no more use."""
        self._judged.add(decision_id)
        self._forget(decision_id)

    def _keep(self, decision_id: str, answer: NDArray[Any]) -> None:
        most = self._answers_bytes // ANSWER_SHARE
        if answer.nbytes > most or (size := _size(answer)) > most:
            return
        self._answers[decision_id] = answer.copy()  # it may be a view of a whole reply
        self._held_bytes += size
        while self._held_bytes > self._answers_bytes:
            self._forget(next(iter(self._answers)))

    def _forget(self, decision_id: str) -> None:
        answer = self._answers.pop(decision_id, None)
        if answer is not None:
            self._held_bytes -= _size(answer)

    def get(self, decision_id: str) -> Record | None:
        """The record of a decision, or None when it is unknown or was dropped."""
        return self._records.get(decision_id)

    def __len__(self) -> int:
        return len(self._records)


def _size(array: NDArray[Any]) -> int:
    """Bytes of an array; of an object array, those of its strings and of the references to them."""
    return array.nbytes + (sum(map(len, array.ravel())) if array.dtype == np.object_ else 0)
