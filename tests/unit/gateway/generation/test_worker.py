"""Questions are answered each by itself: what is wrong with one task keeps no other waiting."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.generation import worker
from gateway.generation.worker import answer_all
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.generations import Asked
from registry.lineage import Sources
from registry.model import Slo, Task, TensorSpec
from registry.stores.generations import FILE, SqliteGenerations
from registry.stores.memory import MemoryStore


def task(name: str) -> Task:
    return Task(name, (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), "rmse_skill")


def test_a_task_whose_model_is_gone_is_answered_with_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = "blake3:" + "0" * 64
    catalogue = Catalogue.empty().with_tasks(task("broken"), task("other"))
    store, generations = MemoryStore(), SqliteGenerations(tmp_path / FILE)
    store.publish(catalogue.with_sources(Sources("broken", gone, None, (("model", gone),))))
    try:
        generations.ask(Asked("broken", Slo(latency_ms=1.0)), Asked("other", Slo(latency_ms=1.0)))
        with caplog.at_level(logging.WARNING):
            answer_all(store, Files(tmp_path / "blobs"), generations)
        assert generations.pending() == ()
        assert generations.generations() == ()
    finally:
        generations.close()
    assert "broken" in caplog.text
    assert gone in caplog.text


def test_a_model_that_ends_the_process_is_not_looked_at_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "blake3:" + "0" * 64
    store, generations = MemoryStore(), SqliteGenerations(tmp_path / FILE)
    store.publish(Catalogue.empty().with_tasks(task("t")).with_sources(Sources("t", digest, None, (("m", digest),))))

    def crash(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(worker, "possible_of", crash)
    try:
        generations.ask(Asked("t", Slo(latency_ms=1.0)))
        with pytest.raises(SystemExit):
            answer_all(store, Files(tmp_path / "blobs"), generations)
        assert generations.pending() == ()
    finally:
        generations.close()
