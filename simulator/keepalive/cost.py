"""What a keep-alive policy costs on AWS Lambda: warm seconds and starts at list prices; requests cost all the same."""

from __future__ import annotations

from registry.model import StartMode
from registry.prices import lambda_price

MEMORY_MB = 1769
"""One vCPU (`registry.prices`)."""


def usd(idle_hours: float, starts: int, start_s: float) -> float:
    """US dollars for idle time as provisioned concurrency and for `starts` INIT phases of `start_s` seconds each.

    A start ahead of a request costs what a cold one does.
    """
    provisioned = lambda_price(MEMORY_MB, start_mode=StartMode.PROVISIONED)
    on_demand = lambda_price(MEMORY_MB)
    return idle_hours * 3600 * provisioned.usd_per_idle_s + starts * start_s * on_demand.usd_per_busy_s
