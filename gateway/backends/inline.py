"""Runs variants in this process, on a bounded pool of threads; alone in the gateway in reaching the runtime's sessions.

onnxruntime is imported by `prepare`, else by the first load. One run cannot be stopped: a caller whose deadline
passes leaves it behind.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gateway.backends.protocol import Emit, Invocation, Reply, TierStatus
from gateway.errors import CorruptArtifact, ExecutionFailed, NotReady, Throttled, TimedOut
from registry.blobs import Blobs
from registry.model import Placement, Tier, Variant
from runtime import errors as faults
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting

if TYPE_CHECKING:
    from runtime.residency import Lease, Residency
    from runtime.session import Session

T = TypeVar("T")

QUEUE = 128
"""Runs that may wait for a thread, their inputs held in memory; one more is Throttled."""

ENVIRONMENT_SHARE = 0.75
"""The part of the tier's memory that variants may fill; the rest is the gateway's own (some 150 MB) and bodies."""


class Key(NamedTuple):
    """What makes two loads the same."""

    variant: str
    artifact: str
    threads: int
    prepack: bool


class InlineBackend:
    """One environment, always there: a residency of sessions and `tier.concurrency` threads to run them on."""

    def __init__(
        self, tier: Tier, *, emit: Emit, blobs: Blobs, clock: Callable[[], float] = time.monotonic, queue: int = QUEUE
    ) -> None:
        self.tier = tier
        self._emit = emit
        self._blobs = blobs
        self._clock = clock
        self._queue = queue
        self._under_way = 0
        self._closed = False
        self._leaving: set[Key] = set()
        """What is to be given up when nobody uses it any more."""
        self._opening = threading.Lock()
        self._residency: Residency[Key, Session] | None = None
        self._pool = ThreadPoolExecutor(tier.concurrency, thread_name_prefix=f"{tier.name}-run")
        self._emit(EnvironmentStarting(tier.name, tier.name, clock()))
        self._emit(EnvironmentReady(tier.name, tier.name, (), clock()))

    async def prepare(self) -> None:
        """Import the runtime."""
        self._check_open()
        await asyncio.get_running_loop().run_in_executor(self._pool, self._sessions)

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run once on a thread of the pool."""
        self._check_open()
        if self._under_way >= self.tier.concurrency + self._queue:
            raise Throttled(f"{self.tier.name} has {self._under_way} runs under way")
        queued_at = self._clock() if self._under_way >= self.tier.concurrency else None
        self._under_way += 1
        run = asyncio.get_running_loop().run_in_executor(self._pool, self._run, invocation, queued_at)
        run.add_done_callback(self._done)
        try:
            async with asyncio.timeout(max(0.0, invocation.deadline - self._clock())):
                return await run
        except TimeoutError:
            raise TimedOut(f"no answer from {self.tier.name} by the deadline") from None

    def status(self) -> TierStatus:
        """What is running now; its one environment counts as busy while every thread is."""
        resident = Counter(key.variant for key in self._residency.residents()) if self._residency else Counter()
        full = self._under_way >= self.tier.concurrency
        return TierStatus(
            ready=not self._closed,
            reason=f"{self.tier.name} is closed" if self._closed else "",
            idle=int(not full and not self._closed),
            busy=int(full),
            starting=0,
            resident=resident,
        )

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """Make the variant resident, for as long as nothing takes its room; one copy serves every thread."""
        self._check_open()
        if copies > 0 and self.status().resident.get(variant.id, 0) == 0:
            self._under_way += 1
            warm = asyncio.get_running_loop().run_in_executor(self._pool, self._warm, placement, variant)
            warm.add_done_callback(self._done)
            await warm

    async def unload(self, variant: Variant) -> None:
        """Give one variant up; what is in use goes at its end."""
        self._check_open()
        residency = self._residency
        keys = [key for key in residency.residents() if key.variant == variant.id] if residency is not None else []
        for key in keys:
            self._leaving.add(key)
            self._give_up(key)
        if keys and not self._under_way:
            self._report()

    async def release(self, copies: int = 0) -> None:
        """Give up what is resident when no copy is to stay; what is in use stays."""
        if copies == 0 and self._residency is not None:
            for key in self._residency.residents():
                self._residency.unload(key)
            # While runs are under way, the end of one will tell: a report counts as the end of a run.
            if not self._under_way:
                self._report()

    async def close(self) -> None:
        """Let running runs finish, drop the waiting ones, and give the memory back."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        await self.release()
        self._emit(EnvironmentGone(self.tier.name, self.tier.name, "closed", self._clock()))

    def _check_open(self) -> None:
        if self._closed:
            raise NotReady(f"{self.tier.name} is closed")

    def _done(self, run: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        if not run.cancelled():
            run.exception()  # Seen here, so that a run whose caller has left is not reported as lost.

    # On a thread of the pool

    def _run(self, invocation: Invocation, queued_at: float | None) -> Reply:
        now = self._clock()
        if now >= invocation.deadline:
            raise TimedOut(f"no thread of {self.tier.name} came free by the deadline")
        placement, variant = invocation.placement, invocation.variant
        wait_ms = 0.0 if queued_at is None else (now - queued_at) * 1000
        return self._with_session(placement, variant, lambda lease: self._reply(lease, invocation, wait_ms))

    def _reply(self, lease: Lease[Session], invocation: Invocation, wait_ms: float) -> Reply:
        started = time.perf_counter()
        outputs = lease.item.run(invocation.inputs)
        run_ms = (time.perf_counter() - started) * 1000
        return Reply(
            outputs=outputs,
            environment=self.tier.name,
            cold=False,
            loaded=lease.loaded,
            run_ms=run_ms,
            billed_ms=run_ms + lease.load_ms,
            load_ms=lease.load_ms,
            wait_ms=wait_ms,
        )

    def _warm(self, placement: Placement, variant: Variant) -> None:
        self._with_session(placement, variant, lambda lease: None)

    def _with_session(self, placement: Placement, variant: Variant, use: Callable[[Lease[Session]], T]) -> T:
        """Use a variant's session, loading it first if need be; the runtime's errors become the protocol's."""
        key = Key(variant.id, variant.artifact, placement.threads, placement.prepack)
        floor_mb = variant.size_bytes / 2**20 if placement.prepack else 0.0
        self._emit(EnvironmentBusy(self.tier.name, self.tier.name, self._clock()))
        self._leaving.discard(key)
        try:
            with self._sessions().lease(key, lambda: self._open(key), floor_mb=floor_mb) as lease:
                return use(lease)
        except faults.CorruptArtifact as fault:
            raise CorruptArtifact(str(fault)) from fault
        except (faults.ExecutionFailed, faults.NoRoom, faults.InvalidTensor) as fault:
            raise ExecutionFailed(str(fault)) from fault
        finally:
            self._give_up(key)
            self._report()

    def _give_up(self, key: Key) -> None:
        """Drop a resident that is to leave, unless it is in use still."""
        if key in self._leaving and self._sessions().unload(key):
            self._leaving.discard(key)

    def _sessions(self) -> Residency[Key, Session]:
        with self._opening:
            if self._residency is None:
                from runtime.residency import Residency  # noqa: PLC0415 - see the module's first lines
                from runtime.session import use_global_pool  # noqa: PLC0415

                # Late only where sessions were opened before in this process; each then keeps a pool of its own.
                with suppress(faults.PoolTooLate):
                    use_global_pool(self.tier.threads)
                self._residency = Residency(self.tier.memory_mb * ENVIRONMENT_SHARE)
            return self._residency

    def _open(self, key: Key) -> Session:
        from runtime.session import Session  # noqa: PLC0415

        return Session.open(self._blobs, key.artifact, threads=key.threads, prepack=key.prepack)

    def _report(self) -> None:
        """One run ended, and this is resident now."""
        residents = self._residency.residents() if self._residency is not None else ()
        resident = tuple(sorted({key.variant for key in residents}))
        self._emit(EnvironmentReady(self.tier.name, self.tier.name, resident, self._clock()))
