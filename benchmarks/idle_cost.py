"""What the deployed template costs: a month with no request, a million requests on each tier; it asks AWS nothing.

For each set of parameters template.yaml is translated as SAM would, its conditions are resolved, and every resource
that would exist, nested stacks included, is looked up in a table of prices (benchmarks.idle_prices); one that is not
in it fails the benchmark. `idle_usd_month` is at list price, as if the account had used up what is always free;
`idle_usd_month_allowed` is for an account that has nothing else. `usd_per_million` is for warm requests that run
RUN_MS on their tier: the front door, the api function that waits for it, the worker, logs and traces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.deployed import all_resources
from benchmarks.harness import Row, run
from benchmarks.idle_prices import bill_of
from registry.manifest import usual_tiers
from registry.model import Tier, TierKind
from registry.prices import MB_PER_GB, figures, invocation_cost

TEMPLATE = Path(__file__).parents[1] / "template.yaml"

TARGET_USD = 1.0
"""Most a month, idle, with the parameters' defaults."""

MILLION = 1_000_000

RUN_MS = 100.0
"""Of a request on its tier, the same on each: a larger tier is worth its price where it makes this shorter."""

API_MS = 10.0
"""The api function's own part of a request (assumed; benchmarks.overhead measures a gateway's)."""

LOG_BYTES = 1500
"""Assumed of a request's lines: the decision's, the front door's and the platform's reports."""

TRACED = 0.05
"""Of requests, by X-Ray's default sampling rule."""


SETTINGS: Mapping[str, Mapping[str, str]] = {
    "default": {},
    "no alarms": {"Alarms": "off"},
    "prod": {"Stage": "prod", "Alarms": "all"},
    "optimizer": {"Optimizer": "on"},
    "warm": {"WarmBudgetUsdPerHour": "0.05"},
    "snapstart smallest": {"SnapStart": "smallest"},
    "snapstart all": {"SnapStart": "all"},
    "isolated": {"IsolateTenants": "on"},
    "gpu": {
        "Gpu": "sagemaker",
        "GpuImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/modelless:cuda",
        "AlarmEmail": "ops@example.org",
    },
}
"""Ways to deploy, as parameters; what a warm budget itself is spent on begins with requests."""


def rows(quick: bool) -> Sequence[Row]:
    """One for each tier of each setting; nothing is measured, so quick is as good."""
    return [row for name, parameters in SETTINGS.items() for row in _rows(name, parameters)]


def _rows(name: str, parameters: Mapping[str, str]) -> list[Row]:
    resources = all_resources(TEMPLATE, **parameters)
    api = resources["ApiFunction"]["Properties"]
    bill = bill_of(resources)
    isolated = parameters.get("IsolateTenants") == "on"
    return [
        {
            "setting": name,
            "tier": tier.name,
            "idle_usd_month": round(bill.usd, 4),
            "idle_usd_month_allowed": round(bill.usd_with_allowances, 4),
            "usd_per_million": round(usd_per_million(tier, api), 4),
            "usd_per_1000_starts": round(1000 * usd_per_start(tier, isolated), 4),
            "parts": {what: round(usd, 4) for what, usd in bill.by_kind().items()},
        }
        for tier in tiers_of(api)
    ]


def tiers_of(api: Mapping[str, Any]) -> list[Tier]:
    """The tiers that the api function is given something to dispatch to; raises KeyError for one that is unknown."""
    known = {tier.name: tier for tier in usual_tiers()}
    variables = api["Environment"]["Variables"]
    named = [variables[name]["Fn::Sub"][0] for name in ("WORKERS", "GPU") if name in variables]
    return [known[tier] for text in named for tier in json.loads(text)]


def usd_per_million(tier: Tier, api: Mapping[str, Any], run_ms: float = RUN_MS) -> float:
    """US dollars for a million warm requests that run so long on a tier, with all that they pass."""
    one = invocation_cost(tier.price, run_ms)
    if tier.kind is TierKind.GPU:
        one = run_ms / 1000 * tier.price.usd_per_busy_s
    return MILLION * (one + _usd_before(api, run_ms))


def usd_per_start(tier: Tier, isolated: bool) -> float:
    """US dollars for one environment more, beside its INIT's time."""
    surcharge = figures()["lambda"]["usd_per_gb_isolated"] * tier.memory_mb / MB_PER_GB if isolated else 0.0
    return float(tier.price.usd_per_start + surcharge)


def _usd_before(api: Mapping[str, Any], run_ms: float) -> float:
    """Of one request, in US dollars: the front door, the api function, logs and traces."""
    sheet, http = figures()["lambda"], figures()["http_api"]["usd_per_request"]
    usd_per_s = api["MemorySize"] / MB_PER_GB * sheet["usd_per_gb_s"][api["Architectures"][0]]
    waiting = (API_MS + run_ms) / 1000 * usd_per_s
    logs = LOG_BYTES / 1e9 * figures()["cloudwatch"]["usd_per_log_gb"]
    traces = TRACED * figures()["xray"]["usd_per_trace"]
    return float(http + sheet["usd_per_request"] + waiting + logs + traces)


if __name__ == "__main__":
    raise SystemExit(run("idle_cost", rows, details=("parts",)))
