"""Which models there are and which are loaded: loaded on demand, given up under pressure, kept while in use or pinned.

Facts are kept on the loop; loading is done on threads, one load at a time. A change of one model (load, unload) waits
for the one before, and an unload for the requests that came before it: a run keeps its model until it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

from runtime.batcher import Executed
from runtime.container.loaded import Loaded
from runtime.container.model import Key, Model, Served, Target
from runtime.container.opening import open_version
from runtime.container.repository import Provenance, Repository, Version, Vouches
from runtime.container.signature import Inputs
from runtime.errors import AlreadyLoaded, RuntimeFault, UnknownModel
from runtime.residency import Lease, Residency
from scheduler.station import Station
from scheduler.work import Ladder, Run

T = TypeVar("T")

PATIENCE_S = 30.0
"""Longest that a load waits for runs of what is in its way: most end within milliseconds, and those of the largest
models within seconds."""


class Models:
    """The models of one repository within one memory budget; an Engine for a batcher."""

    def __init__(
        self,
        repository: Repository,
        station: Station,
        *,
        budget_mb: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.repository = repository
        self._station = station
        self._clock = clock
        self._residency: Residency[Key, Loaded] = Residency(
            budget_mb, size_of=lambda loaded: loaded.private_mb, patience_s=PATIENCE_S
        )
        self._models: dict[str, Model] = {}
        self._targets: dict[tuple[str, str | None], Target] = {}
        self._tasks: dict[str, Model] = {}
        self._told: set[Key] = set()
        self._resident: frozenset[Key] = frozenset()

    # What there is

    async def vouch(self, model: str, provenance: Provenance) -> None:
        """Hold a model to what its publisher said of it, where the repository does; raises as `Vouches.vouch` does."""
        if isinstance(self.repository, Vouches):
            await _threaded(partial(self.repository.vouch, model, provenance))

    def find(self, model: str, version: str | None) -> Target | None:
        """What these names mean, if that is known without loading anything."""
        return self._targets.get((model, version))

    async def target(self, model: str, version: str | None) -> Target:
        """What these names mean, loading a version whose signature is not known.

        Raises UnknownModel, or what loading raises.
        """
        found = self._targets.get((model, version))
        if found is None:
            async with self._changing(model) as known:
                await self._described(known, known.served(version))
                self._aim(known)
                found = self._targets[model, version]
        return found

    async def known(self, model: str) -> Model:
        """The model of this name, loaded or not; raises UnknownModel."""
        return await self._known(model)

    def all(self) -> list[Model]:
        """The models that were asked for so far."""
        return [self._models[name] for name in sorted(self._models)]

    async def names(self) -> list[str]:
        """The models that are there now, or loaded."""
        loaded = (key.model for key in self._resident)
        return sorted({*await _threaded(self.repository.names), *loaded})

    @property
    def loaded(self) -> frozenset[Key]:
        """What is loaded, as the station was told."""
        return self._resident

    @property
    def used_mb(self) -> float:
        """Private memory of all that is loaded."""
        return self._residency.used_mb

    @property
    def budget_mb(self) -> float:
        """Most private memory that may be loaded."""
        return self._residency.budget_mb

    def holds(self, model: str, version: str | None = None) -> bool:
        """Whether a version of a model is loaded, or any of them."""
        return any(key.model == model and version in (None, key.version) for key in self._resident)

    def pinned(self, model: str, version: str) -> bool:
        """Whether a version is loaded and kept until it is unloaded."""
        held = [key for key in self._resident if (key.model, key.version) == (model, version)]
        return any(self._residency.pinned(key) for key in held)

    # Changes

    async def load(
        self,
        model: str,
        version: str | None = None,
        *,
        pin: bool = True,
        fresh: bool = True,
        stamp: str | None = None,
    ) -> None:
        """Have a version loaded (the default one when none is named), and with `pin` kept until it is unloaded.

        `fresh`: look at the repository again first, and load anew what has changed there. Raises UnknownModel, also
        where the version is not of this `stamp`, NoRoom, or what opening raises.
        """
        async with self._changing(model) as known:
            if fresh:
                await self._reread(known)
            served = known.served(version)
            served.check_stamp(stamp)
            await self._load(known, served, pin=pin)
            self._aim(known)

    async def add(self, model: str, versions: Sequence[Version]) -> None:
        """Serve and load a model that is not the repository's; raises AlreadyLoaded, NoRoom or what opening raises."""
        async with self._changing(model, add=True) as known:
            if self.holds(model):
                raise AlreadyLoaded(f"model {model} is loaded; unload it first")
            await self._drain(known)
            known.added = True
            known.versions = {version.name: Served(version, version.signature) for version in versions}
            try:
                await self._load(known, known.served(None), pin=True)
            except RuntimeFault:
                self._forget(known)
                raise
            self._aim(known)

    async def refresh(self) -> None:
        """Take in what changed in the repository of the models that were asked for."""
        for known in self.all():
            async with known.changing:
                if self._models.get(known.name) is known:
                    await self._reread(known)
                    self._aim(known)

    async def unload(self, model: str, version: str | None = None) -> None:
        """Have a version, or all of them, loaded no more; requests that came before are answered first.

        Its memory is free when this returns. Raises UnknownModel.
        """
        async with self._changing(model) as known:
            if version is not None:
                known.served(version)
            await self._drain(known)
            keys = [key for key in self._residency.residents() if key.model == model and version in (None, key.version)]
            for key in keys:
                await _threaded(partial(self._residency.unload, key))
            self.settle()
            if known.added or not await _threaded(partial(self.repository.versions, model)):
                self._forget(known)

    async def close(self) -> None:
        """Give everything up."""
        for key in self._residency.residents():
            await _threaded(partial(self._residency.unload, key))
        self.settle()
        self.repository.close()

    # An engine for a batcher; it calls `execute` and `prefetch` on its threads

    def immediate(self, run: Run) -> bool:
        """Whether the run needs no load, and takes what was foreseen: not where extents are the callers' choice."""
        model = self._tasks[run.task]
        signature = model.versions[run.variant].signature
        known = signature is not None and signature.fixed
        # Not what the station was told: a load that is under way may have evicted it meanwhile.
        return known and Key(model.name, run.variant, run.threads) in self._residency

    def execute(self, run: Run, inputs: Sequence[Inputs], rows: Sequence[int]) -> Executed:
        """Run these works together, loading the version if it is not there; raises RuntimeFault."""
        model = self._tasks[run.task]
        with self._lease(model, model.versions[run.variant], run.threads) as lease:
            outputs, took = lease.item.run(inputs, rows)
            return Executed(outputs, took, lease.loaded)

    def prefetch(self, task: str, variant: str, threads: int) -> None:
        """Load a version ahead of runs, if it is still served; raises RuntimeFault.

        A second session of one that is there already is worth nothing else's place.
        """
        model = self._tasks.get(task)
        served = model and model.versions.get(variant)
        if model and served:
            there = any((key.model, key.version) == (model.name, variant) for key in self._residency.residents())
            self._hold(model, served, threads, pin=False, evict=not there)
            if self._tasks.get(task) is not model:
                self._residency.unload(Key(model.name, variant, threads))  # as everything of it was meanwhile

    def ran(self, run: Run, took_s: float, ok: bool) -> None:
        """Count a run that ended."""
        self._tasks[run.task].versions[run.variant].tally.ran(run.rows, took_s, ok)

    def settle(self) -> None:
        """Offer what was learnt of versions that were loaded, and tell the station what is loaded."""
        self._resident = held = frozenset(self._residency.residents())
        for name in {key.model for key in held ^ self._told}:
            if (model := self._models.get(name)) is not None:
                self._offer(model)
        for key in held ^ self._told:
            model = self._models.get(key.model)
            if model is not None and key.version in model.versions:
                self._station.resident(model.task(key.version), key.version, key.threads, key in held)
        self._told = set(held)

    # How

    @asynccontextmanager
    async def _changing(self, name: str, *, add: bool = False) -> AsyncIterator[Model]:
        """The model of this name while nobody else changes it; raises UnknownModel unless it is to be added."""
        while True:
            known = self._models.setdefault(name, Model(name, {}, added=True)) if add else await self._known(name)
            async with known.changing:
                # Whoever changed it before may have forgotten it.
                if self._models.get(name) is known:
                    yield known
                    return

    async def _known(self, name: str) -> Model:
        model = self._models.get(name)
        if model is None:
            versions = await _threaded(partial(self.repository.versions, name))
            if not versions:
                raise UnknownModel(f"model {name!r:.140} is not known; POST /v2/repository/index lists those that are")
            fresh = Model(name, {version.name: Served(version, version.signature) for version in versions})
            model = self._models.setdefault(name, fresh)
        return model

    async def _reread(self, model: Model) -> None:
        """Take in what changed in the repository; what is loaded of other bytes is unloaded."""
        versions = await _threaded(partial(self.repository.versions, model.name))
        known = [served.version for served in model.versions.values()]
        if not versions or list(versions) == known:
            return
        if [(v.name, v.stamp) for v in versions] == [(v.name, v.stamp) for v in known]:
            for version in versions:
                model.versions[version.name].version = version
            return
        await self._drain(model)
        kept: dict[str, Served] = {}
        for version in versions:
            old = model.versions.get(version.name)
            if old is None or old.version.stamp != version.stamp:
                old = Served(version, version.signature)
            old.version = version
            kept[version.name] = old
        for key in [key for key in self._residency.residents() if key.model == model.name]:
            if kept.get(key.version) is not model.versions.get(key.version):
                await _threaded(partial(self._residency.unload, key))
        model.versions = kept
        self.settle()

    async def _described(self, model: Model, served: Served) -> None:
        if served.signature is None:
            await self._load(model, served, pin=False)

    async def _load(self, model: Model, served: Served, *, pin: bool) -> None:
        try:
            await _threaded(partial(self._hold, model, served, 1, pin=pin))
        finally:
            # What was evicted for it is gone, even if it could not be loaded.
            self.settle()

    async def _drain(self, model: Model) -> None:
        """Let what came before end, and have what comes meanwhile wait for this change."""
        for name in [None, *model.versions]:
            self._targets.pop((model.name, name), None)
        if model.active:
            model.drained = asyncio.get_running_loop().create_future()
            await model.drained
            model.drained = None
        for version in model.versions:
            self._station.withdraw(model.task(version))
            self._tasks.pop(model.task(version), None)
        self._told -= {key for key in self._told if key.model == model.name}

    def _forget(self, model: Model) -> None:
        if self._models.get(model.name) is model:
            del self._models[model.name]

    def _aim(self, model: Model) -> None:
        """Have requests find the versions whose signatures are known."""
        self._offer(model)
        for name, served in model.versions.items():
            if served.signature is not None:
                self._targets[model.name, name] = Target(model, served, served.signature, model.task(name), name)
        default = self._targets.get((model.name, model.default))
        if default is not None:
            variant = None if model.switching else default.variant
            self._targets[model.name, None] = default._replace(variant=variant)

    def _offer(self, model: Model) -> None:
        groups: dict[str, list[Served]] = {}
        for name, served in model.versions.items():
            groups.setdefault(model.task(name), []).append(served)
        for task, group in groups.items():
            self._tasks[task] = model
            rungs = sorted((served.rung() for served in group), key=lambda rung: -rung.accuracy)
            self._station.offer(Ladder(task, tuple(rungs)), self._clock())

    def _hold(self, model: Model, served: Served, threads: int, *, pin: bool, evict: bool = True) -> None:
        try:
            with self._lease(model, served, threads, pin=pin, evict=evict):
                served.fault = ""
        except RuntimeFault as fault:
            served.fault = str(fault)
            raise

    def _lease(
        self, model: Model, served: Served, threads: int, *, pin: bool = False, evict: bool = True
    ) -> AbstractContextManager[Lease[Loaded]]:
        key = Key(model.name, served.version.name, threads)
        return self._residency.lease(
            key, lambda: open_version(model, served, threads), floor_mb=served.version.floor_mb, pin=pin, evict=evict
        )


async def _threaded(job: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, job)
