"""The batching benchmark's loop against a real session: what it sends, counts and refuses to believe."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.batching_models import NO_OP, Subject, subjects
from benchmarks.batching_real import CORES, play
from runtime.container.loaded import Loaded
from scheduler.station import Station
from simulator.arrivals import Floats

TIMES: Floats = np.linspace(0.0, 0.2, 41)

SLO_S = 30.0
"""So long that nothing is late however busy the machine is."""


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    with subjects([NO_OP], tmp_path_factory.mktemp("models")) as [made]:
        yield made


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """What a benchmark sets for its whole process."""
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.unfreeze()


@pytest.fixture
def station(subject: Subject) -> Station:
    made = Station(CORES)
    made.offer(subject.ladder(), 0.0)
    made.resident(subject.name, subject.name, 1)
    return made


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each run from now on."""
    counted: list[int] = []
    run = Loaded.run

    def counting(self: Loaded, inputs: Any, rows: Any) -> Any:
        counted.append(sum(rows))
        return run(self, inputs, rows)

    monkeypatch.setattr(Loaded, "run", counting)
    return counted


def test_every_row_is_answered_after_it_was_due(subject: Subject, station: Station, runs: list[int]) -> None:
    answered = play(station, subject, TIMES, SLO_S)
    assert answered.due.tolist() == TIMES.tolist()
    assert (answered.done > answered.due).all()
    assert np.isfinite(answered.done).all()
    assert sum(runs) == len(TIMES)


def test_a_pace_of_two_does_each_run_twice_from_its_time_on(
    subject: Subject, station: Station, runs: list[int]
) -> None:
    began: list[float] = []

    def pace(at: float) -> int:
        began.append(at)
        return 2 if at >= 0.1 else 1

    answered = play(station, subject, TIMES, SLO_S, pace=pace)
    assert np.isfinite(answered.done).all()
    assert len(runs) == len(began) + sum(at >= 0.1 for at in began)
    assert any(at >= 0.1 for at in began)


def test_an_idle_engine_runs_nothing(subject: Subject, station: Station, runs: list[int]) -> None:
    answered = play(station, subject, TIMES, SLO_S, idle=True)
    assert np.isfinite(answered.done).all()
    assert runs == []


def test_another_answer_than_the_rows_own_is_a_defect(subject: Subject, station: Station) -> None:
    wrong = replace(subject, alone=[*subject.alone[1:], subject.alone[0]])
    with pytest.raises(AssertionError, match="same of row 0 is another than alone"):
        play(station, wrong, TIMES, SLO_S)


def test_a_model_is_made_once(subject: Subject, tmp_path: Path) -> None:
    with subjects([NO_OP], tmp_path) as [first]:
        assert first.loaded.traits.max_batch > 1
    written = (tmp_path / f"{NO_OP}.onnx").stat().st_mtime_ns
    with subjects([NO_OP], tmp_path) as [again]:
        assert again.most_rps() > 0
    assert (tmp_path / f"{NO_OP}.onnx").stat().st_mtime_ns == written
