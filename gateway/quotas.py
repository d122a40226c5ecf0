"""How many requests a second a tenant may send, as token buckets in memory; never shared, and never a decision's input.

A bucket holds one second of its rate, and at least one request; it fills at the rate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.auth import Principal
from gateway.errors import QuotaExceeded

BURST_S = 1.0
"""Seconds of the rate that a tenant which was quiet may send at once."""

MOST_BUCKETS = 10_000
"""Tenants whose buckets are kept; of more, those that are full again are forgotten, and then the oldest."""


class Quota(Protocol):
    """What counts a tenant's requests."""

    def take(self, principal: Principal) -> None:
        """Count one request of the principal's tenant; raises QuotaExceeded when it has had its share."""


@dataclass(slots=True)
class Bucket:
    """Tokens as of an instant (s)."""

    tokens: float
    at: float

    def fill(self, rate: float, burst: float, now: float) -> None:
        """Have what came since; a clock that went back brings nothing."""
        self.tokens = min(burst, self.tokens + rate * max(0.0, now - self.at))
        self.at = max(self.at, now)


class Buckets:
    """A token bucket for each tenant."""

    def __init__(
        self,
        per_s: float = math.inf,
        own: Mapping[str, float] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_BUCKETS,
    ) -> None:
        """`per_s` requests a second, but of `own`'s tenants what it says; inf is without bound."""
        self._per_s, self._own, self._clock, self._most = per_s, dict(own or {}), clock, most
        self._buckets: dict[str, Bucket] = {}

    def take(self, principal: Principal) -> None:
        """Count one request; raises QuotaExceeded, saying when the next one may come."""
        rate = self.rate(principal.tenant)
        if rate == math.inf:
            return
        burst, now = max(1.0, rate * BURST_S), self._clock()
        bucket = self._buckets.get(principal.tenant)
        if bucket is None:
            bucket = self._buckets[principal.tenant] = self._new(burst, now)
        bucket.fill(rate, burst, now)
        if bucket.tokens < 1:
            raise exceeded(rate, (1 - bucket.tokens) / rate)
        bucket.tokens -= 1

    def rate(self, tenant: str) -> float:
        """Requests per second of a tenant."""
        return self._own.get(tenant, self._per_s)

    def _new(self, burst: float, now: float) -> Bucket:
        if len(self._buckets) >= self._most:
            kept = {t: b for t, b in self._buckets.items() if now - b.at < max(BURST_S, 1 / self.rate(t))}
            while len(kept) >= self._most:
                del kept[next(iter(kept))]
            self._buckets = kept
        return Bucket(burst, now)

    @property
    def held(self) -> int:
        """Tenants whose buckets are kept now."""
        return len(self._buckets)


def exceeded(rate: float, retry_after_s: float) -> QuotaExceeded:
    """The refusal of one request too many."""
    return QuotaExceeded(
        f"the tenant's quota is {rate:g} requests a second; try again in {retry_after_s:.2g} s",
        retry_after_s=retry_after_s,
        requests_per_second=rate,
    )
