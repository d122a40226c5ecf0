"""Models: loaded on demand and once, given up under pressure, kept while in use or pinned, changed one by one."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from runtime.batcher import Batcher, Outcome
from runtime.container.models import Models
from runtime.container.plane import Ask, Plane
from runtime.container.probe import try_out
from runtime.container.repository import Folder
from runtime.errors import AlreadyLoaded, Expired, InvalidBody, NoRoom, RuntimeFault, UnknownModel, Unloadable
from scheduler.station import Station
from scheduler.work import Run

MakeFolder = Callable[[dict[str, bytes]], Path]

WIDTH = 1024
WEIGHT = np.eye(WIDTH, dtype=np.float32)
"""Four megabytes: more than what a load takes beside its weights."""

ROOM_FOR_ONE_MB, ROOM_FOR_TWO_MB = 6.5, 11.0


class House:
    """A plane over the models of a folder."""

    def __init__(self, root: Path, budget_mb: float) -> None:
        clock = asyncio.get_running_loop().time
        station = Station(1)
        self.folder = Folder(root)
        self.models = Models(self.folder, station, budget_mb=budget_mb, clock=clock)
        self.batcher = Batcher(station, self.models, cores=1, clock=clock)
        self.plane = Plane(self.models, self.batcher, version=lambda: "0", clock=clock)

    def ask(self, model: str, value: float = 1.0, *, version: str | None = None, width: int = 4) -> Any:
        told: asyncio.Future[Outcome | RuntimeFault] = asyncio.get_running_loop().create_future()
        inputs = {"x": np.full((1, width), value, np.float32)}
        self.plane.infer(model, version, inputs, Ask(self.plane.clock()), told.set_result)
        return told

    async def answer(self, model: str, value: float = 1.0, **options: Any) -> Any:
        outcome = await self.ask(model, value, **options)
        if isinstance(outcome, RuntimeFault):
            raise outcome
        return outcome

    @property
    def held(self) -> set[str]:
        return {f"{key.model}/{key.version}" for key in self.models.loaded}


@asynccontextmanager
async def house(root: Path, budget_mb: float = 1000.0) -> AsyncIterator[House]:
    made = House(root, budget_mb)
    async with asyncio.timeout(30):
        yield made
        await made.plane.close()
        await made.models.close()


class Loading:
    """Loads that have begun wait in it until it is opened."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()
        self.begun = asyncio.Event()
        self.open = self._open.set

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self._open.wait(20)
        return try_out(*arguments, **options)


@pytest.fixture
async def loading(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Loading]:
    made = Loading()
    monkeypatch.setattr("runtime.container.opening.try_out", made)
    yield made
    made.open()


async def test_a_model_is_loaded_by_the_first_who_asks(folder_of: MakeFolder, graphs: Any) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        assert h.held == set()
        first, second = await h.answer("m", 3.0), await h.answer("m", 4.0)
        assert (first.outputs["y"][0, 0], second.outputs["y"][0, 0]) == (6.0, 8.0)
        assert (first.loaded, second.loaded) == (True, False)
        assert h.held == {"m/1"}


async def test_many_who_ask_at_once_load_it_once(
    folder_of: MakeFolder, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    opening = Folder._version

    def counted(self: Folder, *arguments: Any) -> Any:
        version = opening(self, *arguments)
        opens = version.open
        object.__setattr__(version, "open", lambda threads: (opened.append(version.model), opens(threads))[1])
        return version

    monkeypatch.setattr(Folder, "_version", counted)
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        outcomes = await asyncio.gather(*(h.answer("m", i) for i in range(8)), h.models.load("m"), h.models.load("m"))
        assert [outcome.outputs["y"][0, 0] for outcome in outcomes[:8]] == [2.0 * i for i in range(8)]
        assert opened == ["m"]


@pytest.mark.parametrize(("model", "version"), [("nope", None), ("m", "7"), ("nope", "1"), ("..", None)])
async def test_what_is_not_there_is_said_to_be_unknown(
    folder_of: MakeFolder, graphs: Any, model: str, version: str | None
) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        with pytest.raises(UnknownModel):
            await h.answer(model, version=version)
        with pytest.raises(UnknownModel):
            await h.models.load(model, version)
        with pytest.raises(UnknownModel):
            await h.models.unload(model, version)


async def test_a_model_that_comes_later_is_found(folder_of: MakeFolder, graphs: Any) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        with pytest.raises(UnknownModel):
            await h.answer("late")
        folder_of({"late": graphs.scaled(3.0)})
        assert (await h.answer("late")).outputs["y"][0, 0] == 3.0
        assert await h.models.names() == ["late", "m"]


async def test_a_broken_model_says_so_to_whoever_asks(folder_of: MakeFolder, graphs: Any) -> None:
    async with house(folder_of({"bad": b"no graph", "m": graphs.scaled(2.0)})) as h:
        for _ in range(2):
            with pytest.raises(Unloadable, match="bad version 1 cannot be loaded"):
                await h.answer("bad")
        index = {row["name"]: row for row in await h.plane.index()}
        assert index["bad"]["state"] == "UNAVAILABLE"
        assert "cannot be loaded" in index["bad"]["reason"]
        assert (await h.answer("m")).outputs["y"][0, 0] == 2.0


async def test_the_newest_version_is_meant_where_none_is_named(folder_of: MakeFolder, graphs: Any) -> None:
    async with house(folder_of({"m/1": graphs.scaled(1.0), "m/2": graphs.scaled(2.0)})) as h:
        newest, oldest = await h.answer("m"), await h.answer("m", version="1")
        assert (newest.variant, newest.outputs["y"][0, 0]) == ("2", 2.0)
        assert (oldest.variant, oldest.outputs["y"][0, 0]) == ("1", 1.0)


async def test_versions_of_known_accuracy_are_chosen_among(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m/1": graphs.scaled(1.0), "m/2": graphs.scaled(2.0)})
    (root / "m" / "model.json").write_text(json.dumps({"versions": {"1": {"accuracy": 0.9}, "2": {"accuracy": 0.8}}}))
    async with house(root) as h:
        assert (await h.answer("m")).variant == "1"
        assert (await h.answer("m", version="2")).outputs["y"][0, 0] == 2.0
        assert (await h.answer("m")).variant == "1"


async def test_versions_that_cannot_stand_in_for_one_another_are_not_loaded(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m/1": graphs.scaled(1.0), "m/2": graphs.scaled(2.0, width=5)})
    (root / "m" / "model.json").write_text('{"accuracy": 0.9}')
    async with house(root) as h:
        await h.models.load("m", "1")
        with pytest.raises(Unloadable, match="takes or gives other tensors than version 1"):
            await h.models.load("m", "2")


async def test_pressure_evicts_what_nobody_uses(folder_of: MakeFolder, graphs: Any) -> None:
    models = {name: graphs.linear(WEIGHT * (i + 1)) for i, name in enumerate("abc")}
    async with house(folder_of(models), budget_mb=ROOM_FOR_TWO_MB) as h:
        for i, name in enumerate("abc"):
            assert (await h.answer(name, width=WIDTH)).outputs["y"][0, 0] == i + 1
        (evicted,) = {"a/1", "b/1", "c/1"} - h.held
        again = await h.answer(evicted[0], width=WIDTH)
        assert (again.outputs["y"][0, 0], again.loaded) == (" abc".index(evicted[0]), True)


async def test_what_is_pinned_stays_and_what_does_not_fit_beside_it_is_refused(
    folder_of: MakeFolder, graphs: Any
) -> None:
    models = {name: graphs.linear(WEIGHT) for name in "abc"}
    async with house(folder_of(models), budget_mb=ROOM_FOR_TWO_MB) as h:
        await h.models.load("a")
        await h.models.load("b")
        with pytest.raises(NoRoom, match=r"c version 1 needs \d\.\d MB of 11\.0 MB"):
            await h.answer("c", width=WIDTH)
        assert h.held == {"a/1", "b/1"}
        await h.models.unload("a")
        await h.answer("c", width=WIDTH)
        assert h.held == {"b/1", "c/1"}


async def test_what_changed_is_loaded_anew_when_it_is_loaded_again(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    async with house(root) as h:
        await h.answer("m")
        folder_of({"m": graphs.scaled(30.0)})
        assert (await h.answer("m")).outputs["y"][0, 0] == 2.0
        await h.models.load("m")
        assert (await h.answer("m")).outputs["y"][0, 0] == 30.0


async def test_a_refresh_takes_new_versions_in(folder_of: MakeFolder, graphs: Any) -> None:
    async with house(folder_of({"m/1": graphs.scaled(1.0)})) as h:
        assert (await h.answer("m")).variant == "1"
        folder_of({"m/2": graphs.scaled(2.0)})
        await h.models.refresh()
        assert (await h.answer("m")).variant == "2"
        assert (await h.answer("m", version="1")).outputs["y"][0, 0] == 1.0


async def test_a_refresh_takes_another_accuracy_in_and_keeps_what_is_loaded(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m/1": graphs.scaled(1.0), "m/2": graphs.scaled(2.0)})
    description = root / "m" / "model.json"
    description.write_text('{"versions": {"1": {"accuracy": 0.9}, "2": {"accuracy": 0.8}}}')
    async with house(root) as h:
        for version in ("1", "2"):
            await h.models.load("m", version)
        assert (await h.answer("m")).variant == "1"
        description.write_text('{"versions": {"1": {"accuracy": 0.7}, "2": {"accuracy": 0.8}}}')
        await h.models.refresh()
        assert h.held == {"m/1", "m/2"}
        assert (await h.answer("m")).variant == "2"


async def test_a_model_whose_folder_is_gone_serves_until_it_is_unloaded(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    async with house(root) as h:
        await h.models.load("m")
        shutil.rmtree(root / "m")
        await h.models.refresh()
        assert (await h.answer("m")).outputs["y"][0, 0] == 2.0
        await h.models.unload("m")
        with pytest.raises(UnknownModel):
            await h.answer("m")


async def test_unloading_waits_for_what_came_before_and_makes_what_comes_after_wait(
    folder_of: MakeFolder, graphs: Any
) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        await h.models.load("m")
        before = [h.ask("m", i) for i in range(5)]
        unloading = asyncio.ensure_future(h.models.unload("m"))
        await asyncio.sleep(0)
        after = h.ask("m", 9.0)
        await unloading
        assert all(told.done() for told in before)
        assert [told.result().outputs["y"][0, 0] for told in before] == [2.0 * i for i in range(5)]
        outcome = await after
        assert (outcome.outputs["y"][0, 0], outcome.loaded) == (18.0, True)


async def test_loads_and_unloads_that_race_with_requests_lose_none(folder_of: MakeFolder, graphs: Any) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0), "n": graphs.scaled(3.0)})) as h:

        async def change(model: str) -> None:
            for _ in range(6):
                await h.models.load(model)
                await h.models.unload(model)

        async def ask(model: str, factor: float) -> None:
            for i in range(40):
                outcome = await h.answer(model, float(i))
                assert outcome.outputs["y"][0, 0] == factor * i

        await asyncio.gather(*(change(m) for m in "mnm"), *(ask(m, f) for m, f in (("m", 2.0), ("n", 3.0)) * 3))


async def test_a_model_of_another_place_is_served_until_it_is_unloaded(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m": graphs.scaled(2.0), "elsewhere/x": graphs.scaled(5.0)})
    async with house(root / "elsewhere") as h:
        versions = h.folder.read("added", root / "m")
        await h.models.add("added", versions)
        assert (await h.answer("added")).outputs["y"][0, 0] == 2.0
        with pytest.raises(AlreadyLoaded):
            await h.models.add("added", versions)
        assert await h.models.names() == ["added", "x"]
        await h.models.unload("added")
        assert await h.models.names() == ["x"]
        with pytest.raises(UnknownModel):
            await h.answer("added")
        await h.models.add("added", versions)
        assert h.held == {"added/1"}


async def test_a_model_that_cannot_be_added_leaves_nothing_behind(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"bad": b"", "m": graphs.scaled(2.0)})
    async with house(root / "nowhere") as h:
        for _ in range(2):
            with pytest.raises(Unloadable):
                await h.models.add("a", h.folder.read("a", root / "bad"))
        await h.models.add("a", h.folder.read("a", root / "m"))
        assert h.held == {"a/1"}


async def test_two_who_add_the_same_model_at_once_load_it_once(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    async with house(root / "nowhere") as h:
        versions = h.folder.read("a", root / "m")
        came = await asyncio.gather(*(h.models.add("a", versions) for _ in range(3)), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in came) == ["AlreadyLoaded", "AlreadyLoaded", "NoneType"]


async def test_what_runs_on_the_loop_is_loaded_and_of_foreseen_extents(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"fixed": graphs.scaled(2.0), "any": graphs.echoed(TensorProto.FLOAT, ["n", "m"])})
    async with house(root) as h:
        for name, immediate in (("fixed", True), ("any", False)):
            await h.answer(name)
            run = Run(1, f"{name}/1", "1", 1, (), 1, 1e-5)
            assert h.models.immediate(run) == immediate
        await h.models.load("fixed")
        assert not h.models.immediate(Run(1, "fixed/1", "1", 2, (), 1, 1e-5))


async def test_what_is_being_evicted_does_not_run_on_the_loop(
    folder_of: MakeFolder, graphs: Any, loading: Loading
) -> None:
    async with house(folder_of({name: graphs.linear(WEIGHT) for name in "mn"}), budget_mb=ROOM_FOR_ONE_MB) as h:
        loading.open()
        await h.models.load("m", pin=False)
        run = Run(1, "m/1", "1", 1, (), 1, 1e-5)
        assert h.models.immediate(run)
        loading.__init__()  # type: ignore[misc]
        other = h.ask("n", width=WIDTH)
        await loading.begun.wait()
        assert h.held == {"m/1"}
        assert not h.models.immediate(run)
        loading.open()
        await other


async def test_a_load_that_fails_tells_what_it_evicted(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m": graphs.linear(WEIGHT), "bad": b"no graph" * 2**19})
    async with house(root, budget_mb=ROOM_FOR_ONE_MB) as h:
        await h.models.load("m", pin=False)
        assert h.held == {"m/1"}
        with pytest.raises(Unloadable):
            await h.models.load("bad")
        assert h.held == set()


async def test_who_asks_while_an_added_model_is_unloaded_brings_nothing_back(
    folder_of: MakeFolder, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    unloading, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    async with house(root / "nowhere") as h:
        unload = h.models._residency.unload

        def slowly(key: Any) -> bool:
            loop.call_soon_threadsafe(unloading.set)
            assert go_on.wait(20)
            return unload(key)

        monkeypatch.setattr(h.models._residency, "unload", slowly)
        versions = h.folder.read("a", root / "m")
        await h.models.add("a", versions)
        gone = asyncio.ensure_future(h.models.unload("a"))
        await unloading.wait()
        late, again = h.ask("a"), asyncio.ensure_future(h.models.load("a"))
        await asyncio.sleep(0)
        go_on.set()
        await gone
        assert isinstance(await late, UnknownModel)
        with pytest.raises(UnknownModel):
            await again
        assert h.held == set()
        await h.models.add("a", versions)
        assert h.held == {"a/1"}


async def test_two_who_add_what_is_being_unloaded_load_it_once(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    async with house(root / "nowhere") as h:
        versions = h.folder.read("a", root / "m")
        await h.models.add("a", versions)
        gone = asyncio.ensure_future(h.models.unload("a"))
        await asyncio.sleep(0)
        came = await asyncio.gather(*(h.models.add("a", versions) for _ in range(3)), return_exceptions=True)
        await gone
        assert sorted(type(outcome).__name__ for outcome in came) == ["AlreadyLoaded", "AlreadyLoaded", "NoneType"]
        await h.models.unload("a")
        assert h.held == set()


async def test_what_is_prefetched_while_it_is_unloaded_does_not_stay(
    folder_of: MakeFolder, graphs: Any, loading: Loading
) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        loading.open()
        await h.models.load("m")
        loading.__init__()  # type: ignore[misc]
        prefetching = asyncio.ensure_future(asyncio.to_thread(h.models.prefetch, "m/1", "1", 2))
        await loading.begun.wait()
        await h.models.unload("m")
        loading.open()
        await prefetching
        h.models.settle()
        assert h.held == set()


async def test_a_description_that_breaks_does_not_hide_that_a_model_is_unloaded(
    folder_of: MakeFolder, graphs: Any
) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    async with house(root) as h:
        await h.models.load("m")
        (root / "m" / "model.json").write_text("{")
        with pytest.raises(InvalidBody):
            await h.models.unload("m")
        assert h.held == set()


@pytest.mark.parametrize(("threads", "timed"), [(1, False), (2, True)])
async def test_what_the_repository_has_measured_is_not_measured_again(
    folder_of: MakeFolder, graphs: Any, threads: int, timed: bool
) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    async with house(root) as h:
        (version,) = h.folder.read("m", root / "m")
        await h.models.add("m", [replace(version, service={threads: ((1, 1e-3, 2e-3),)})])
        (served,) = (await h.models.known("m")).versions.values()
        assert served.traits[1].max_batch == 64
        assert bool(served.traits[1].service) == timed


async def test_runs_on_several_threads_are_not_timed_while_others_want_the_cores(
    folder_of: MakeFolder, graphs: Any
) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        await h.models.load("m")
        await asyncio.to_thread(h.models.prefetch, "m/1", "1", 2)
        (served,) = (await h.models.known("m")).versions.values()
        assert served.traits[1].service
        assert served.traits[2] == replace(served.traits[1], service=())


async def test_a_second_session_takes_nothing_elses_place(folder_of: MakeFolder, graphs: Any) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0), "n": graphs.scaled(3.0)})) as h:
        await h.models.load("m")
        await h.models.load("n")
        h.models._residency.budget_mb = h.models.used_mb
        with pytest.raises(NoRoom):
            await asyncio.to_thread(h.models.prefetch, "m/1", "1", 2)
        assert {(key.model, key.threads) for key in h.models._residency.residents()} == {("m", 1), ("n", 1)}


@pytest.mark.parametrize("where", ["runtime.container.opening.try_out", "runtime.container.repository._open"])
async def test_a_model_for_which_there_is_no_memory_is_said_not_to_fit(
    folder_of: MakeFolder, graphs: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise MemoryError

    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        with monkeypatch.context() as patch:
            patch.setattr(where, full)
            with pytest.raises(NoRoom, match="m version 1 takes more memory to load than there is"):
                await h.models.load("m")
        assert h.held == set()
        assert (await h.answer("m")).outputs["y"][0, 0] == 2.0


async def test_a_load_goes_on_and_counts_though_its_caller_leaves(
    folder_of: MakeFolder, graphs: Any, loading: Loading
) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        told: list[Any] = []
        inputs = {"x": np.ones((1, 4), np.float32)}
        work = h.plane.infer("m", None, inputs, Ask(h.plane.clock()), told.append)
        await loading.begun.wait()
        h.plane.cancel(work)
        for _ in range(3):
            await asyncio.sleep(0)
        # Whoever wants to change the model waits for it.
        assert (await h.models.known("m")).changing.locked()
        loading.open()
        await h.plane.close()
        assert told == []
        assert h.held == {"m/1"}


async def test_a_deadline_is_not_waited_beyond_for_a_model_that_is_loaded(
    folder_of: MakeFolder, graphs: Any, loading: Loading
) -> None:
    async with house(folder_of({"m": graphs.scaled(2.0)})) as h:
        told: asyncio.Future[Outcome | RuntimeFault] = asyncio.get_running_loop().create_future()
        ask = Ask(h.plane.clock(), deadline_s=0.001)
        h.plane.infer("m", None, {"x": np.ones((1, 4), np.float32)}, ask, told.set_result)
        fault = await told
        assert isinstance(fault, Expired)
        assert "before its model was loaded" in str(fault)
        loading.open()
        assert (await h.answer("m", 3.0)).outputs["y"][0, 0] == 6.0
