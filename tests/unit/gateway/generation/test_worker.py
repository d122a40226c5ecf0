"""Questions are answered each by itself: what is wrong with one task keeps no other waiting."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.generation.worker import answer_all
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.jobs import Asked
from registry.lineage import Sources
from registry.model import Slo, Task, TensorSpec
from registry.stores.jobs import FILE, SqliteJobs
from registry.stores.memory import MemoryStore


def task(name: str) -> Task:
    return Task(name, (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), "rmse_skill")


def test_a_task_whose_model_is_gone_is_answered_with_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = "blake3:" + "0" * 64
    catalogue = Catalogue.empty().with_tasks(task("broken"), task("other"))
    store, jobs = MemoryStore(), SqliteJobs(tmp_path / FILE)
    store.publish(catalogue.with_sources(Sources("broken", gone, None, (("model", gone),))))
    try:
        jobs.ask(Asked("broken", Slo(latency_ms=1.0)), Asked("other", Slo(latency_ms=1.0)))
        with caplog.at_level(logging.WARNING):
            answer_all(store, Files(tmp_path / "blobs"), jobs)
        assert jobs.pending() == ()
        assert jobs.jobs() == ()
    finally:
        jobs.close()
    assert "broken" in caplog.text
    assert gone in caplog.text
