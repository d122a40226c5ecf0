"""What one request adds to the metrics: answered, refused by whose fault, and tried in vain."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gateway.errors import GatewayError, NotReady, Throttled
from gateway.measures import measures_of
from gateway.virtual_time import run_virtually
from registry.measures import METRICS

BOTH = {("small", "a"): 5.0, ("large", "b"): 20.0}


def counted(record: Any) -> dict[tuple[str, str], float]:
    """Values by metric and tier; every metric is in the table, and of the record's task."""
    found: Counter[tuple[str, str]] = Counter()
    for measure in measures_of(record):
        assert measure.metric in METRICS
        assert measure.task == record.request.task
        found[measure.metric, measure.tier] += measure.value
    return dict(found)


def test_an_answer_counts_for_its_tier(make_world):
    async def main():
        world = make_world(BOTH)
        served = (await world.predict()).decision
        (record,) = world.records
        found = counted(record)
        assert {name: found[name, "b"] for name in ("Requests", "SloMet", "ColdStart")} == dict.fromkeys(
            ("Requests", "SloMet", "ColdStart"), 1
        )
        assert found["E2ELatency", "b"] == served.latency_ms
        assert found["PredictionError", "b"] == pytest.approx(served.latency_ms - served.predicted_latency_ms)
        assert found["EstimatedCost", "b"] == pytest.approx(served.cost_usd * 1e6)
        assert found["SloMissed", "b"] == 0

    run_virtually(main())


def test_a_warm_answer_that_is_late_missed_its_slo(make_world):
    async def main():
        world = make_world(BOTH)
        await world.predict()
        await world.predict({"latency_ms": 1})
        await world.predict({"latency_ms": 1})
        found = counted(world.records[-1])
        assert (found["SloMissed", "a"], found["SloMet", "a"], found.get(("ColdStart", "a"))) == (1, 0, None)

    run_virtually(main())


def test_what_was_tried_in_vain_counts_for_its_own_tier(make_world):
    async def main():
        world = make_world(BOTH)
        world.backends["b"].script.append(Throttled("full"))
        await world.predict()
        found = counted(world.records[0])
        assert (found["Fallback", "b"], found["LeaseRejected", "b"], found["SloMet", "a"]) == (1, 1, 1)

    run_virtually(main())


@pytest.mark.parametrize(
    ("hints", "faults", "missed"),
    [
        ({}, [NotReady("zero copies"), NotReady("zero copies")], True),
        ({}, [Throttled("full"), Throttled("full")], True),
        ({"min_accuracy": 0.999, "on_infeasible": "strict"}, [], False),
    ],
    ids=["unavailable", "overloaded", "infeasible"],
)
def test_a_refusal_misses_the_slo_only_where_it_is_ours(make_world, hints, faults, missed):
    async def main():
        world = make_world(BOTH)
        for backend, fault in zip(world.backends.values(), faults, strict=False):
            backend.script.append(fault)
        with pytest.raises(GatewayError):
            await world.predict(hints)
        found = counted(world.records[-1])
        assert (found["Requests", "none"], found["Rejected", "none"]) == (1, 1)
        assert (found.get(("SloMissed", "none")), found.get(("SloMet", "none"))) == ((1, 0) if missed else (None, None))
        assert sum(value for (metric, _), value in found.items() if metric == "Fallback") == len(faults)

    run_virtually(main())
