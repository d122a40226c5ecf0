"""Carries probes out in the background, after the answer; never delays a request and never answers one.

What a probe costs is the operator's: it is billed like any invocation, and no caller's cost bound counts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.backends.protocol import Tensors
from gateway.decisions import Record
from gateway.dispatch import Dispatcher
from gateway.snapshots import Snapshots
from scheduler.decision import Decision
from scheduler.probing import Probe, Probing


class Probes:
    """What one gateway tries again, and how much of it is under way."""

    def __init__(
        self, snapshots: Snapshots, dispatcher: Dispatcher, clock: Callable[[], float], tell: Callable[[Probe], None]
    ) -> None:
        """`tell` hears of each probe when it starts."""
        self._snapshots = snapshots
        self._dispatcher = dispatcher
        self._clock = clock
        self._tell = tell
        self._state = Probing()
        self._running: set[asyncio.Task[None]] = set()

    def after(self, record: Record, decision: Decision, inputs: Tensors) -> None:
        """Consider an answered request; its inputs are kept for as long as a probe runs on them."""
        catalogue, fleet = self._snapshots.view()
        if catalogue is not record.catalogue:
            return  # placements may have gone with the older one
        self._state, probe = self._state.after(decision, fleet, self._clock())
        if probe is None:
            return
        self._tell(probe)
        task = asyncio.get_running_loop().create_task(self._run(probe, record, inputs))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, probe: Probe, record: Record, inputs: Tensors) -> None:
        latency_ms = None
        try:
            latency_ms = await self._dispatcher.probe(
                probe.estimate, record.catalogue, request_id=f"{record.id}-probe", inputs=inputs
            )
        finally:
            self._state = self._state.ended(probe, latency_ms)
