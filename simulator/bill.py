"""What a tier was used for, counted in whole steps, and what that costs; it reads no price list."""

from __future__ import annotations

import math
from dataclasses import dataclass

from registry.model import Price


@dataclass(frozen=True, slots=True)
class Dollars:
    """US dollars by what they were paid for."""

    requests: float = 0.0
    busy: float = 0.0
    """Runs and loads."""
    init: float = 0.0
    """What starts added to the duration that was billed."""
    starts: float = 0.0
    """Restores of a snapshot."""
    idle: float = 0.0
    """What was kept whether used or not: provisioned concurrency, container copies, a cached snapshot."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.requests + self.busy + self.init + self.starts + self.idle

    def __add__(self, other: Dollars) -> Dollars:
        return Dollars(
            self.requests + other.requests,
            self.busy + other.busy,
            self.init + other.init,
            self.starts + other.starts,
            self.idle + other.idle,
        )


class Meter:
    """Counts one price's invocations; the sum is `registry.prices.invocation_cost` of each, exactly."""

    __slots__ = ("_busy_steps", "_init_steps", "_requests", "_starts", "_step_usd", "idle_s", "price")

    def __init__(self, price: Price) -> None:
        self.price = price
        self.idle_s = 0.0
        """Seconds for which one environment was kept, or a snapshot cached."""
        self._step_usd = price.step_ms / 1000 * price.usd_per_busy_s
        self._requests = self._starts = self._busy_steps = self._init_steps = 0

    def add(self, billed_ms: float, init_ms: float | None = None) -> float:
        """One invocation of so much duration, after a start of `init_ms` if there was one; returns its US dollars."""
        price = self.price
        steps = math.ceil(round(billed_ms / price.step_ms, 6))
        self._requests += 1
        self._busy_steps += steps
        if init_ms is None:
            return price.usd_per_request + steps * self._step_usd
        billed_init = init_ms if price.bills_init else 0.0
        more = math.ceil(round((billed_ms + billed_init) / price.step_ms, 6)) - steps
        self._starts += 1
        self._init_steps += more
        return price.usd_per_request + price.usd_per_start + (steps + more) * self._step_usd

    def start(self, init_ms: float) -> None:
        """A start that nobody asked anything of."""
        if self.price.bills_init:
            self._init_steps += math.ceil(round(init_ms / self.price.step_ms, 6))
        self._starts += 1

    def dollars(self) -> Dollars:
        """What everything so far costs."""
        price = self.price
        return Dollars(
            requests=self._requests * price.usd_per_request,
            busy=self._busy_steps * self._step_usd,
            init=self._init_steps * self._step_usd,
            starts=self._starts * price.usd_per_start,
            idle=self.idle_s * price.usd_per_idle_s,
        )
