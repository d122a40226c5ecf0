"""The line of a request: ids and figures, details for a sample and for refusals, and no word of what was sent."""

from __future__ import annotations

import json

import pytest

from gateway.errors import ExecutionFailed, GatewayError
from gateway.lines import line_of, writing_lines
from gateway.virtual_time import run_virtually

BOTH = {("small", "a"): 5.0, ("large", "b"): 20.0}
SECRET = "row 1 is 42.4242"


def test_an_answer_has_its_ids_and_figures(make_world):
    async def main():
        world = make_world(BOTH)
        served = (await world.predict()).decision
        line = line_of(world.records[0], detailed=0.0)
        assert line == {
            "decision_id": served.decision_id,
            "tenant": "acme",
            "task": "sum",
            "tier": "b",
            "variant": "sum/large",
            "rows": 1,
            "predicted_ms": round(served.predicted_latency_ms, 3),
            "actual_ms": round(served.latency_ms, 3),
            "cold_start": True,
            "slo_met": True,
            "error": None,
            "catalogue_version": 0,
        }

    run_virtually(main())


def test_a_sample_says_why_and_quotes_no_runtime(make_world):
    async def main():
        world = make_world(BOTH)
        world.backends["b"].script.append(ExecutionFailed(SECRET))
        await world.predict()
        line = line_of(world.records[0], detailed=1.0)
        assert [attempt["error"] for attempt in line["attempts"]] == ["ExecutionFailed", ""]
        assert line["reason"]
        assert "42.4242" not in json.dumps(line)

    run_virtually(main())


def test_a_refusal_has_its_code_and_not_its_message(make_world):
    async def main():
        world = make_world(BOTH)
        for backend in world.backends.values():
            backend.script.append(ExecutionFailed(SECRET))
        with pytest.raises(GatewayError):
            await world.predict()
        line = line_of(world.records[0], detailed=0.0)
        assert (line["error"], line["slo_met"], line["tier"]) == ("unavailable", False, "none")
        assert line["slo"]["percentile"]
        assert "42.4242" not in json.dumps(line)

    run_virtually(main())


def test_a_share_of_random_ids_is_detailed(make_world):
    async def main():
        world = make_world(BOTH)
        for _ in range(400):
            await world.predict()
        detailed = sum("reason" in line_of(record, detailed=0.25) for record in world.records)
        assert 50 < detailed < 150  # 100 expected; six standard deviations off at either end

    run_virtually(main())


def test_lines_are_json_with_their_time(make_world):
    async def main():
        world, lines = make_world(BOTH), []
        world.service.watch_with(writing_lines(lines.append))
        await world.predict()
        (line,) = map(json.loads, lines)
        assert (line["at"], line["decision_id"]) == (0.0, world.records[0].id)

    run_virtually(main())
