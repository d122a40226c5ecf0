"""Metrics: a text that Prometheus reads, with what the counters say, names escaped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.batcher import Batcher
from runtime.container.metrics import exposition
from runtime.container.model import Model, Served
from runtime.container.models import Models
from runtime.container.repository import Folder, Version
from scheduler.station import Station


def model(name: str) -> Model:
    version = Version(name, "1", open=lambda threads: pytest.fail("nobody loads it"), stamp=None)
    return Model(name, {"1": Served(version, None)})


async def test_the_text_is_read_as_it_is_meant(tmp_path: Path) -> None:
    station = Station(1)
    models = Models(Folder(tmp_path), station, budget_mb=100.0)
    batcher = Batcher(station, models, cores=1)
    awkward = model('a"b\\c\nd')
    tally = awkward.versions["1"].tally
    tally.answered(3, 0.5, 0.25, 0.002, 0.0)
    tally.failed("Expired", 1.0)
    tally.ran(3, 0.25, ok=True)
    models.all = lambda: [awkward, model("never asked")]  # type: ignore[method-assign]

    text = exposition(models, batcher, connections=7).decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }
    name = 'a"b\\c\nd'
    prefix = "modelless_container"
    assert samples[f"{prefix}_requests_total", name, "answered", "1"] == 1
    assert samples[f"{prefix}_requests_total", name, "Expired", "1"] == 1
    assert samples[f"{prefix}_latency_seconds_bucket", "0.001", name, "1"] == 0
    assert samples[f"{prefix}_latency_seconds_bucket", "+Inf", name, "1"] == 1
    assert samples[f"{prefix}_latency_seconds_sum", name, "1"] == 0.002
    assert samples[f"{prefix}_queue_seconds_total", name, "1"] == 0.5
    assert samples[f"{prefix}_run_seconds_total", name, "1"] == 0.25
    assert samples[f"{prefix}_rows_total", name, "1"] == 3
    assert samples[f"{prefix}_runs_total", name, "1"] == 1
    assert not any("never asked" in sample for sample in samples)
    assert samples[(f"{prefix}_connections",)] == 7
    assert samples[(f"{prefix}_memory_budget_megabytes",)] == 100
    assert {family.type for family in families.values()} == {"counter", "gauge", "histogram"}
    await asyncio.wait_for(batcher.close(), 10)
