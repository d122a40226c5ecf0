"""The backends of a function that dispatches: one for each tier that it was given a worker or a component for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from gateway.backends.aws import THREADS
from gateway.backends.components import Component
from gateway.backends.lambda_ import Client, LambdaBackend
from gateway.backends.protocol import Backend, Emit
from registry.catalogue import Catalogue
from registry.leases import Leases
from registry.model import Tier
from registry.tenants import tenant_hash


class CloudBackends:
    """Follows the catalogue's tiers; a tier that it was given nothing for has no backend, and so is never ready."""

    def __init__(
        self,
        workers: Mapping[str, str],
        *,
        emit: Emit,
        gpus: Mapping[str, Component] | None = None,
        leases: Leases | None = None,
        make_client: Callable[[int], Client] | None = None,
        clock: Callable[[], float] = time.monotonic,
        isolated: bool = False,
        at_once: int = THREADS,
    ) -> None:
        """`workers` and `gpus` are by tier; `leases` bound what all functions together ask of a component.

        `make_client` and `clock` as for the LambdaBackend; `isolated` workers run each task for its owner alone. At
        most `at_once` calls of a worker are under way.
        """
        self._at_once = at_once
        self._isolated = isolated
        self._owners: dict[str, str] = {}
        """Of tasks."""
        self._workers, self._gpus = workers, gpus or {}
        self._leases = leases
        self._clock = clock
        self._make_client = make_client
        self._emit = emit
        self.by_tier: dict[str, Backend] = {}
        """What the service dispatches by; it grows as the catalogue does."""
        self._closing: set[asyncio.Task[None]] = set()

    def follow(self, catalogue: Catalogue) -> None:
        """Open a backend for each tier that is new or has changed; a former one ends its calls and closes."""
        self._owners = {name: task.owner for name, task in catalogue.tasks.items()}
        for name in (*self._workers, *self._gpus):
            tier = catalogue.tiers.get(name)
            known = self.by_tier.get(name)
            if tier is not None and (known is None or known.tier != tier):
                self.by_tier[name] = self._opened(tier)
                if known is not None:
                    self._close(known)

    async def settle(self) -> None:
        """Wait until every former backend has closed."""
        await asyncio.gather(*self._closing)

    def _opened(self, tier: Tier) -> Backend:
        component = self._gpus.get(tier.name)
        if component is not None:
            # Most stacks have none.
            from gateway.backends.sagemaker import SageMakerBackend  # noqa: PLC0415

            return SageMakerBackend(tier, emit=self._emit, component=component, leases=self._leases, clock=self._clock)
        return LambdaBackend(
            tier,
            emit=self._emit,
            function=self._workers[tier.name],
            make_client=self._make_client,
            clock=self._clock,
            threads=self._at_once,
            tenant_of=self._tenant if self._isolated else None,
        )

    def _tenant(self, task: str) -> str:
        return tenant_hash(self._owners[task])

    def _close(self, backend: Backend) -> None:
        task = asyncio.get_running_loop().create_task(backend.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
