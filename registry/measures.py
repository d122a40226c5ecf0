"""What is measured of a running platform: names, units and what each is told apart by; a literal table, no I/O.

Whoever counts (a gateway's Prometheus metrics, a function's log lines) takes names from here, so that alarms and
dashboards are written once. Nothing is told apart by tenant, variant or request: each value of a dimension is a metric
of its own that CloudWatch bills.
"""

from __future__ import annotations

from registry.typed import NamedTuple

NAMESPACE = "Modelless"

NOWHERE = "none"
"""The tier of a request that no tier answered."""

TOTAL: tuple[str, ...] = ()
TASK: tuple[str, ...] = ("task",)
TIER: tuple[str, ...] = ("tier",)
TASK_TIER: tuple[str, ...] = ("task", "tier")


class Metric(NamedTuple):
    """One metric."""

    unit: str
    """As CloudWatch names it."""
    by: tuple[tuple[str, ...], ...]
    """What it is told apart by besides the service: one set of dimensions after another."""
    what: str


class Measure(NamedTuple):
    """One value of a metric."""

    metric: str
    value: float
    task: str = ""
    tier: str = ""


COUNT, MILLISECONDS, NO_UNIT = "Count", "Milliseconds", "None"

METRICS: dict[str, Metric] = {
    "Requests": Metric(COUNT, (TOTAL, TASK_TIER), "Requests that were decided, whatever came of them."),
    "Rejected": Metric(COUNT, (TOTAL, TASK), "Requests that were decided and got no answer."),
    "SloMet": Metric(COUNT, (TOTAL, TASK_TIER), "Answers that held every bound."),
    "SloMissed": Metric(COUNT, (TOTAL, TASK_TIER), "Answers that broke a bound, and requests that we failed."),
    "E2ELatency": Metric(MILLISECONDS, (TOTAL, TASK_TIER), "Arrival to answer."),
    "DecisionTime": Metric(MILLISECONDS, (TOTAL,), "Inside the scheduler."),
    "QueueTime": Metric(MILLISECONDS, (TIER,), "Waiting for a slot of a tier that had none free."),
    "ExecTime": Metric(MILLISECONDS, (TASK_TIER,), "Inside the session."),
    "LoadTime": Metric(MILLISECONDS, (TIER,), "Loading a variant, as the worker took it."),
    "PredictionError": Metric(MILLISECONDS, (TIER,), "Latency over what was predicted at the SLO's percentile."),
    "ColdStart": Metric(COUNT, (TIER,), "Answers that had to wait for an environment's start."),
    "ModelLoads": Metric(COUNT, (TIER,), "Variants that were loaded."),
    "EstimatedCost": Metric(NO_UNIT, (TASK_TIER,), "Millionths of a dollar, by the tier's price model."),
    "Fallback": Metric(COUNT, (TOTAL, TIER), "Placements that were tried in vain."),
    "LeaseRejected": Metric(COUNT, (TOTAL, TIER), "Placements tried in vain for want of capacity."),
    "PrewarmIssued": Metric(COUNT, (TIER,), "Copies that were warmed ahead of requests."),
    "PrewarmUsed": Metric(COUNT, (TIER,), "Warmed copies whose task was asked for while they lasted."),
    "PrewarmWasted": Metric(COUNT, (TIER,), "Warmed copies whose task nobody asked for."),
    "ModelEvictions": Metric(COUNT, (TIER,), "Variants that were given up as not worth their place."),
    "VariantsMade": Metric(COUNT, (TOTAL,), "Variants that were missing, made and published."),
    "VariantsNotMade": Metric(COUNT, (TOTAL,), "Variants that could not be made, or were better on no axis."),
    "Judgements": Metric(COUNT, (TOTAL,), "Judgements that were taken in."),
    "QuotaUnsettled": Metric(COUNT, (TOTAL,), "Times that a tenant's spending could not be told to the table."),
    "CopiesWanted": Metric(COUNT, (TIER,), "Copies of a tier that are paid for by the hour, asked for or not."),
}
