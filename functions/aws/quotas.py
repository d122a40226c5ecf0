"""A tenant's quota shared by all environments of a function, approximately; no request ever waits for the table.

Each environment counts in memory. Every SETTLE_EVERY requests of a tenant it adds them to the table and reads what all
have spent of the window, on a thread, while the worker is waited for. A tenant whose window is spent is refused until
the next one; and no environment alone lets through more than the rate.

Of a window of WINDOW_S seconds, N environments let through at most the rate times WINDOW_S, and 2 * SETTLE_EVERY * N
more: each may have spent so many that it has not told, or not heard of. While the table cannot be reached, each lets
through what it believes, and at most the rate.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from gateway.auth import Principal
from gateway.quotas import Buckets, exceeded
from registry.errors import RegistryError

log = logging.getLogger(__name__)

WINDOW_S = 10.0
"""Long against the second that a settlement may take, short against a caller's patience."""

SETTLE_EVERY = 10
"""Requests to a write: 0.06 dollars per million requests, and two requests a second of overshoot an environment."""

SHARDS = 4
"""Counters of a tenant's window: at 10,000 requests a second each is written to 250 times a second, of the 1,000 that
DynamoDB allows."""

MOST_TENANTS = 10_000


class Counters(Protocol):
    """Where environments tell one another what they let through."""

    def spend(self, tenant: str, window: int, window_s: float, count: int) -> int:
        """Add to a tenant's window; what all have spent in it. Raises Unavailable."""


@dataclass(slots=True)
class _Spent:
    """What is known of a tenant's window."""

    window: int
    known: int = 0
    """By all, when the table was last heard from."""
    untold: int = 0
    """Here, since the last settlement began."""
    settling: tuple[Future[int], int] | None = None
    """A settlement under way, and how many requests it tells of."""

    @property
    def total(self) -> int:
        return self.known + self.untold + (self.settling[1] if self.settling else 0)


class SharedQuota:
    """One environment's part in the quotas; `failed` is told of each settlement that came to nothing."""

    def __init__(
        self,
        per_s: float,
        counters: Counters,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        thread: Executor | None = None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._per_s, self._counters, self._wall, self._failed = per_s, counters, wall, failed
        self._alone = Buckets(per_s, clock=clock, most=MOST_TENANTS)
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="quotas")
        self._spent: dict[str, _Spent] = {}

    def take(self, principal: Principal) -> None:
        """Count one request of the principal's tenant; raises QuotaExceeded."""
        if self._per_s == math.inf:
            return
        now = self._wall()
        spent = self._of(principal.tenant, int(now // WINDOW_S))
        if spent.total >= self._per_s * WINDOW_S:
            raise exceeded(self._per_s, (spent.window + 1) * WINDOW_S - now)
        self._alone.take(principal)
        spent.untold += 1
        if spent.untold >= SETTLE_EVERY and spent.settling is None:
            told, spent.untold = spent.untold, 0
            work = self._thread.submit(self._counters.spend, principal.tenant, spent.window, WINDOW_S, told)
            spent.settling = work, told

    def _of(self, tenant: str, window: int) -> _Spent:
        """What is known of the tenant's window, with what a settlement that has ended came to."""
        spent = self._spent.get(tenant)
        if spent is None or spent.window != window:
            if len(self._spent) >= MOST_TENANTS:
                self._spent = {t: s for t, s in self._spent.items() if s.window == window}
            spent = self._spent[tenant] = _Spent(window)
        if spent.settling is not None and spent.settling[0].done():
            (ended, told), spent.settling = spent.settling, None
            try:
                spent.known = max(spent.known, ended.result())
            except RegistryError as fault:
                spent.known += told  # nobody else has heard of them
                log.warning("quotas cannot be settled: %s", fault)
                self._failed()
        return spent


def any_shard() -> int:
    """A shard for an environment to write to."""
    return random.randrange(SHARDS)  # noqa: S311 - spreads writes; nothing is kept secret by it
