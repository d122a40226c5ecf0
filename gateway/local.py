"""The platform on one machine: a home folder opened as store, blobs, backends and service, and closed again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.backends.components import Component
from gateway.backends.open import open_backends
from gateway.backends.protocol import Backend, Preloads
from gateway.errors import BackendError
from gateway.following import follow, refresh
from gateway.hardware import quarantine_unfit, stale_here
from gateway.judgements import Judgements
from gateway.metrics import Metrics
from gateway.preload import preloads
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.blobs import Blobs
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.judgements import JudgementLog
from registry.leases import Leases
from registry.model import StartMode, Tier
from registry.store import Store
from registry.stores.judgements import FILE as JUDGEMENTS
from registry.stores.judgements import SqliteJudgements
from registry.stores.leases import FILE as LEASES
from registry.stores.leases import SqliteLeases
from registry.stores.sqlite import SqliteStore

log = logging.getLogger(__name__)

CATALOGUE = "catalogue.db"
BLOBS = "blobs"


def open_store(home: Path) -> Store:
    """The home's catalogue store, made if it is not there; several processes may have it open."""
    home.mkdir(parents=True, exist_ok=True)
    return SqliteStore(home / CATALOGUE)


def open_blobs(home: Path) -> Blobs:
    """The home's blobs, made if they are not there."""
    (home / BLOBS).mkdir(parents=True, exist_ok=True)
    return Files(home / BLOBS)


@dataclass(slots=True)
class Platform:
    """Everything that serves one home; `async with Platform.open(home) as platform`."""

    home: Path
    store: Store
    blobs: Blobs
    snapshots: Snapshots
    backends: dict[str, Backend]
    metrics: Metrics
    service: Service
    judgements: Judgements
    functions: Mapping[str, str]
    containers: Mapping[str, str]
    gpus: Mapping[str, Component]
    leases: Leases | None
    """Of the components, with all gateways of this home; containers of this machine are each gateway's own."""
    clock: Callable[[], float]
    _preparing: set[asyncio.Task[None]] = field(default_factory=set)
    _preload: bool = False
    _snapshotting: dict[str, asyncio.Lock] = field(default_factory=dict)
    """By tier."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        home: Path,
        *,
        functions: Mapping[str, str] | None = None,
        containers: Mapping[str, str] | None = None,
        gpus: Mapping[str, Component] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> AsyncIterator[Platform]:
        """Open a home and serve its tiers; follows the store's head, and publishes what judgements say, until closed.

        Environments start when they are first needed (see `prepare`), and everything that was started is stopped at
        the end.
        """
        store, blobs = open_store(home), open_blobs(home)
        judged = SqliteJudgements(home / JUDGEMENTS)
        leases = SqliteLeases(home / LEASES) if gpus else None
        platform = cls._assembled(
            home,
            store,
            blobs,
            judged,
            clock,
            functions=functions or {},
            containers=containers or {},
            gpus=gpus or {},
            leases=leases,
        )
        following = asyncio.create_task(follow(store, platform.snapshots, changed=platform._follow))
        publishing = asyncio.create_task(platform.judgements.keep_published(store, platform.refresh))
        try:
            yield platform
        finally:
            for task in (following, publishing, *platform._preparing):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await platform.service.close()
            await asyncio.gather(*(backend.close() for backend in platform.backends.values()))
            if leases is not None:
                leases.close()
            judged.close()
            store.close()

    @classmethod
    def _assembled(
        cls,
        home: Path,
        store: Store,
        blobs: Blobs,
        judged: JudgementLog,
        clock: Callable[[], float],
        *,
        functions: Mapping[str, str],
        containers: Mapping[str, str],
        gpus: Mapping[str, Component],
        leases: Leases | None,
    ) -> Platform:
        catalogue = store.load()
        snapshots = Snapshots(catalogue)
        backends: dict[str, Backend] = {}
        metrics = Metrics(backends)
        metrics.watch(snapshots.view, clock)
        service = Service(
            snapshots, backends, clock=clock, observers=[metrics.observe], stale=stale_here, probed=metrics.probed
        )
        judgements = Judgements(service, judged)
        platform = cls(
            home,
            store,
            blobs,
            snapshots,
            backends,
            metrics,
            service,
            judgements,
            functions,
            containers,
            gpus,
            leases,
            clock,
        )
        platform.serve_tiers_of(catalogue)
        quarantine_unfit(snapshots, clock)
        return platform

    async def prepare(self, *, preload: bool = False) -> None:
        """Have every tier do what no request should wait for; one that cannot is left to the first request's answer.

        With `preload`, snapshots hold the variants that `gateway.preload` chooses from the catalogue, from now on the
        newest one; a profiler does without, to measure what each variant takes by itself.
        """
        quarantine_unfit(self.snapshots, self.clock)
        self._preload |= preload
        backends = list(self.backends.values())
        preparing = (self._prepare(backend) for backend in backends)
        for backend, outcome in zip(backends, await asyncio.gather(*preparing, return_exceptions=True), strict=True):
            if isinstance(outcome, BackendError):
                log.warning("tier %s cannot be prepared: %s", backend.tier.name, outcome)
            elif outcome is not None:
                raise outcome

    async def _prepare(self, backend: Backend) -> None:
        if self._preload and isinstance(backend, Preloads) and backend.tier.start_mode is StartMode.SNAPSTART:
            # One snapshot after the other, so that the last one taken is of the latest catalogue.
            async with self._snapshotting.setdefault(backend.tier.name, asyncio.Lock()):
                catalogue, _ = self.snapshots.view()
                await backend.preload(preloads(backend.tier, catalogue))
        await backend.prepare()

    def _follow(self, catalogue: Catalogue) -> None:
        """Serve and prepare the tiers of a newer catalogue."""
        self.serve_tiers_of(catalogue)
        # As a task it begins when the snapshots have moved on to this catalogue.
        preparing = asyncio.create_task(self.prepare())
        self._preparing.add(preparing)
        preparing.add_done_callback(self._preparing.discard)

    def serve_tiers_of(self, catalogue: Catalogue) -> None:
        """Open a backend for each tier that has none; a tier keeps its backend for as long as the platform is open."""
        self.serve(*(tier for name, tier in catalogue.tiers.items() if name not in self.backends))

    def serve(self, *tiers: Tier) -> None:
        """Open backends for these tiers, in the catalogue or not yet (a profiler measures before it publishes)."""
        new = [tier for tier in tiers if tier.name not in self.backends]
        self.backends.update(
            open_backends(
                new,
                emit=self.snapshots.emit,
                blobs=self.blobs,
                home=self.home,
                functions=self.functions,
                containers=self.containers,
                gpus=self.gpus,
                leases=self.leases,
                clock=self.clock,
            )
        )

    async def refresh(self) -> Catalogue:
        """Bring the service to the store's head now, rather than at the next look; returns the catalogue."""
        await refresh(self.store, self.snapshots, changed=self.serve_tiers_of)
        return self.snapshots.view()[0]
