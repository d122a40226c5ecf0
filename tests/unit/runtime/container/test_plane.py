"""What a caller may ask for beside the answer, and what the plane does with it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.batcher import Batcher, Outcome
from runtime.container.models import Models
from runtime.container.plane import DEFAULT_PRIORITY, Ask, Plane, ask_of
from runtime.container.repository import Folder
from runtime.errors import InvalidBody, InvalidTensor, NotServing, RuntimeFault, UnknownModel
from scheduler.station import Station

MakeFolder = Callable[[dict[str, bytes]], Path]

ROW = {"x": np.ones((1, 4), np.float32)}


@pytest.mark.parametrize(
    ("parameters", "ask"),
    [
        ({}, Ask(7.0)),
        (None, Ask(7.0)),
        ({"timeout": 2000}, Ask(7.0, deadline_s=0.002)),
        ({"timeout": 0, "latency_ms": 0}, Ask(7.0)),
        ({"latency_ms": 50}, Ask(7.0, deadline_s=0.05)),
        ({"timeout": 1_000_000, "latency_ms": 50.0}, Ask(7.0, deadline_s=0.05)),
        ({"timeout": "1000", "priority": 3, "min_accuracy": 0.9}, Ask(7.0, 0.001, 3, 0.9)),
        ({"sequence_id": 5, "anything": "else"}, Ask(7.0)),
        ({"artifact": "blake3:0"}, Ask(7.0, stamp="blake3:0")),
    ],
)
def test_what_is_asked_for(parameters: Any, ask: Ask) -> None:
    assert ask_of(parameters, 7.0) == ask


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", -1),
        ("timeout", "soon"),
        ("latency_ms", True),
        ("latency_ms", math.nan),
        ("priority", -1),
        ("min_accuracy", 1.01),
        ("artifact", 3),
    ],
)
def test_what_is_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidBody, match=f"parameter '{name}' is"):
        ask_of({name: value}, 0.0)


@asynccontextmanager
async def plane_over(root: Path) -> AsyncIterator[Plane]:
    clock = asyncio.get_running_loop().time
    station = Station(1)
    models = Models(Folder(root), station, budget_mb=1000.0, clock=clock)
    plane = Plane(models, Batcher(station, models, cores=1, clock=clock), version=lambda: "9", clock=clock)
    async with asyncio.timeout(20):
        yield plane
        await plane.close()
        await models.close()


def future() -> asyncio.Future[Outcome | RuntimeFault]:
    return asyncio.get_running_loop().create_future()


async def test_what_is_wrong_with_a_loaded_models_inputs_is_raised_at_once(folder_of: MakeFolder, graphs: Any) -> None:
    async with plane_over(folder_of({"m": graphs.scaled(2.0)})) as plane:
        await plane.load("m")
        with pytest.raises(InvalidTensor):
            plane.infer("m", None, {}, Ask(plane.clock()), lambda outcome: None)
        told = future()
        plane.infer("m", None, ROW, Ask(plane.clock()), told.set_result)
        assert isinstance(await told, Outcome)


async def test_priority_0_is_in_the_middle(folder_of: MakeFolder, graphs: Any) -> None:
    async with plane_over(folder_of({"m": graphs.scaled(2.0)})) as plane:
        await plane.load("m")
        ended: list[int] = []
        works = [
            plane.infer("m", None, ROW, Ask(plane.clock(), priority=p), lambda outcome, p=p: ended.append(p))  # type: ignore[misc]
            for p in (0, 1, 200)
        ]
        assert [work.priority for work in works] == [DEFAULT_PRIORITY, 1, 200]


@pytest.mark.parametrize("loaded", [True, False])
async def test_what_is_cancelled_is_told_nothing_and_counted(folder_of: MakeFolder, graphs: Any, loaded: bool) -> None:
    async with plane_over(folder_of({"m": graphs.scaled(2.0)})) as plane:
        if loaded:
            await plane.load("m")
        told, other = future(), future()
        work = plane.infer("m", None, ROW, Ask(plane.clock()), told.set_result)
        plane.cancel(work)
        plane.infer("m", None, ROW, Ask(plane.clock()), other.set_result)
        assert isinstance(await other, Outcome)
        assert not told.done()
        (stats,) = await plane.statistics("m")
        assert stats["inference_stats"]["success"]["count"] == 1
        assert stats["inference_stats"]["fail"]["count"] == int(loaded)
        await plane.unload("m")


async def test_a_stopping_plane_takes_no_work(folder_of: MakeFolder, graphs: Any) -> None:
    async with plane_over(folder_of({"m": graphs.scaled(2.0)})) as plane:
        plane.starting = False
        assert plane.ready
        await plane.close()
        assert not plane.ready
        with pytest.raises(NotServing):
            plane.infer("m", None, ROW, Ask(plane.clock()), lambda outcome: None)


async def test_metadata_readiness_and_the_index(folder_of: MakeFolder, graphs: Any) -> None:
    async with plane_over(folder_of({"m/1": graphs.scaled(1.0), "m/2": graphs.scaled(2.0)})) as plane:
        assert plane.server_metadata()["version"] == "9"
        assert not await plane.model_ready("m", None)
        with pytest.raises(UnknownModel):
            await plane.model_ready("m", "3")
        assert await plane.describe("m", "2") == {
            "name": "m",
            "versions": ["2", "1"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
        }
        assert await plane.model_ready("m", None)
        assert not await plane.model_ready("m", "1")
        assert await plane.index() == [
            {"name": "m", "version": "2", "state": "READY", "reason": ""},
            {"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        ]
        assert [row["version"] for row in await plane.index(ready=True)] == ["2"]
        await plane.load("m", "1")
        assert [row["reason"] for row in await plane.index()] == ["", "pinned"]


async def test_statistics_of_all_of_one_and_of_one_version(folder_of: MakeFolder, graphs: Any) -> None:
    async with plane_over(folder_of({"m/1": graphs.scaled(1.0), "m/2": graphs.scaled(2.0), "n": b""})) as plane:
        await plane.load("m")
        assert [row["version"] for row in await plane.statistics()] == ["2", "1"]
        assert [row["version"] for row in await plane.statistics("m", "1")] == ["1"]
        with pytest.raises(UnknownModel):
            await plane.statistics("m", "3")
        with pytest.raises(UnknownModel):
            await plane.statistics("nope")


async def test_a_description_that_is_not_to_be_understood_is_in_the_index(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m": graphs.scaled(1.0)})
    (root / "m" / "model.json").write_text("{")
    async with plane_over(root) as plane:
        (row,) = await plane.index()
        assert row["state"] == "UNAVAILABLE"
        assert "not JSON" in row["reason"]
