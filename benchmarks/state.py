"""What shared state costs and where it is hot: calls to the table, counted on a virtual clock; it asks AWS nothing.

Requests come evenly, and take turns over tasks, environments of the api function and as many workers, prewarming being
on. `reads` and `writes` are DynamoDB's units for each request, and `usd_per_million` their price. The other figures are
units a second of the partition that has most of a kind, over its busiest ten seconds, of READS_PER_S and WRITES_PER_S
that one takes. Nothing is drawn that they depend on, so a row is no sample and has no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness import Row, run
from benchmarks.scale import catalogue
from benchmarks.state_calls import Api
from registry.prices import lambda_tiers

WRITES_PER_S, READS_PER_S = 1000, 3000
"""Units that one partition takes (DynamoDB Developer Guide, quotas)."""

TIER = "lambda-1769-snapstart"

MINUTE_NEAR_S = 41.0
"""Since a full minute, when all begin at once: their next look at what others saw comes just after the next minute,
at which all of them write too, and has all of it to read."""


@dataclass(frozen=True, slots=True)
class Case:
    """A load, and for how long."""

    rate: float
    environments: int
    seconds: float
    tasks: int = 5
    resident: int = 1
    """Variants that each worker holds, and that a sighting of it names."""
    now: float = 0.0


DOCUMENTED = (
    Case(1 / 60, 1, 3600.0),
    Case(1.0, 2, 3600.0),
    Case(20.0, 10, 300.0),
    Case(200.0, 40, 300.0),
)
"""Those of docs/design.md's table."""

LARGE = tuple(Case(10_000.0, 1_000, 21.0, tasks=20, resident=held, now=MINUTE_NEAR_S) for held in (1, 20))
"""Too short for what a request costs on average: everything in them is a minute's beginning."""


def rows(quick: bool) -> Sequence[Row]:
    """One for each load."""
    return [_row(case) for case in (DOCUMENTED if quick else (*DOCUMENTED, *LARGE))]


def _row(case: Case) -> Row:
    table = (api := played(case)).table
    return {
        "requests_per_s": case.rate,
        "environments": case.environments,
        "tasks": case.tasks,
        "resident": case.resident,
        "reads": round(api.each("read"), 4),
        "writes": round(api.each("write"), 4),
        "usd_per_million": round(api.usd_per_million(), 4),
        "catalogue_reads_per_s": table.busiest("read", "CATALOGUE"),
        "snapshot_reads_per_s": table.busiest("read", "SNAPSHOT#"),
        "seen_reads_per_s": table.busiest("read", "SEEN#"),
        "seen_writes_per_s": table.busiest("write", "SEEN#"),
        "activity_writes_per_s": table.busiest("write", "ACTIVITY#"),
        "of_a_partition_s_reads": table.busiest("read") / READS_PER_S,
        "of_a_partition_s_writes": table.busiest("write") / WRITES_PER_S,
    }


def played(case: Case) -> Api:
    """The environments, after their time."""
    tiers = tuple(tier for tier in lambda_tiers() if tier.name == TIER)
    api = Api(catalogue(case.tasks, tiers), TIER, case.environments, resident=case.resident, now=case.now)
    api.run(case.seconds, case.rate)
    return api


if __name__ == "__main__":
    raise SystemExit(run("state", rows, details=("snapshot_reads_per_s", "seen_writes_per_s")))
