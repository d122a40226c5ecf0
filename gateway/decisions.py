"""What was decided and what came of it: a bounded log of each decision's inputs; it never keeps what can be redone."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gateway.errors import GatewayError
from registry.catalogue import Catalogue
from scheduler.choose import choose
from scheduler.decision import Decision
from scheduler.fleet import Fleet
from scheduler.requests import Request

CAPACITY = 2000
"""Decisions that can still be explained. An entry holds references to shared snapshots, not copies."""


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
    """Of the variant, as measured."""
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
    served: Served | None = None
    error: GatewayError | None = None

    def decision(self) -> Decision:
        """The decision, computed again from its inputs."""
        return choose(self.request, self.catalogue, self.fleet, self.now)


class DecisionLog:
    """The last CAPACITY records by id."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._records: OrderedDict[str, Record] = OrderedDict()

    def append(self, record: Record) -> None:
        """Keep a record, dropping the oldest one when full."""
        self._records[record.id] = record
        if len(self._records) > self._capacity:
            self._records.popitem(last=False)

    def get(self, decision_id: str) -> Record | None:
        """The record of a decision, or None when it is unknown or was dropped."""
        return self._records.get(decision_id)

    def __len__(self) -> int:
        return len(self._records)
