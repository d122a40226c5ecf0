from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from benchmarks import synthetic
from registry.model import Slo, StartMode
from scheduler.estimate import outlook
from scheduler.fleet import Fleet
from scheduler.prospects import PATIENCE_MS, prospects
from scheduler.requests import Request
from scheduler.table import MEDIAN, table_of
from scheduler.warming import as_warm

WORTH = 0.01


@pytest.mark.parametrize("seed", range(12))
def test_what_is_ready_is_expected_as_a_decision_expects_it(seed: int) -> None:
    """Of several requests at once, each column is what `outlook` says of the placement where all is resident."""
    random = Random(seed)
    catalogue = synthetic.catalogue(30, seed)
    fleet, now = synthetic.after(Fleet.empty(catalogue), 60, random)
    requests = [replace(synthetic.request(random), elapsed_ms=0.0) for _ in range(3)]
    found = prospects(fleet, requests, now, WORTH)
    table = table_of(catalogue, synthetic.TASK)
    for number, request in enumerate(requests):
        mine = found.request == number
        slo = request.slo if request.slo.latency_ms else replace(request.slo, latency_ms=PATIENCE_MS)
        view = outlook(replace(request, slo=slo), table, as_warm(fleet), now)
        every = np.arange(len(table.placements))
        holds = view.runnable & (view.accuracy >= (slo.min_accuracy or 0.0))
        holds &= view.cost <= (slo.max_cost_usd if slo.max_cost_usd is not None else np.inf)
        worth = np.where(holds, WORTH * view.effective_accuracy(every), 0.0) - view.cost
        np.testing.assert_allclose(found.ready_usd[mine], worth)
        np.testing.assert_allclose(found.busy_s[mine], view.grid(every)[MEDIAN] / 1000)
        assert [found.placements[i] for i in mine.nonzero()[0]] == list(table.placements)


@pytest.mark.parametrize("seed", range(6))
def test_effort_is_what_the_start_of_now_costs_more(seed: int) -> None:
    random = Random(seed)
    catalogue = synthetic.catalogue(30, seed)
    fleet, now = synthetic.after(Fleet.empty(catalogue), 60, random)
    request = Request(synthetic.TASK, Slo(latency_ms=100.0))
    found = prospects(fleet, [request], now, WORTH)
    table = table_of(catalogue, synthetic.TASK)
    as_now, ready = (outlook(request, table, state, now).cost for state in (fleet, as_warm(fleet)))
    np.testing.assert_allclose(found.effort_usd, np.maximum(as_now - ready, 0.0))
    assert (found.resident == (fleet.columns.holders[table.span.start : table.span.measured] > 0)).all()


def test_where_nothing_is_kept_only_what_always_runs_is_warm(build, spec, flat, tier) -> None:
    catalogue = build(
        spec("v", "always", load=flat(30.0)),
        spec("v", "cpu", load=flat(30.0), init=flat(50.0)),
        tiers=(tier("always", start_mode=StartMode.ALWAYS), tier("cpu")),
    )
    found = prospects(Fleet.empty(catalogue), [Request("t", Slo(latency_ms=60.0))], 0.0, WORTH)
    assert found.start_s.tolist() == [0.03, 0.08]
    assert [p.tier for p in found.placements] == ["always", "cpu"]
    # 10 ms of run, 30 of load, 50 of start: at a dollar a second each costs what it takes, and the late one is worth 0.
    assert found.kept_nothing_usd.tolist() == pytest.approx([0.9 * 0.999 * WORTH - 0.04, -0.09])
    assert found.ready_usd.tolist() == pytest.approx([0.9 * 0.999 * WORTH - 0.01] * 2)
