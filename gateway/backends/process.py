"""The `process` tiers: the worker function in execution environments on this machine; never a choice of what to run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from gateway.backends.calls import fault_of, infer_event, reply_of, unload_event, warm_event
from gateway.backends.protocol import Emit, Invocation, Reply, TierStatus, least_left_s
from gateway.environments.cpu_share import Shares
from gateway.environments.invocation import Answer, FunctionError
from gateway.environments.pool import Pool
from gateway.environments.spec import FunctionSpec, import_roots
from gateway.errors import NotReady, TimedOut
from registry.model import Placement, Tier, Variant

HANDLER = "functions.worker.app.handler"

QUEUE = 128
"""Requests that may wait for an environment, their events held in memory: the scheduler foresees a queue's wait, and
knows nothing of how soon a throttled tier has room again."""


def worker_spec(
    tier: Tier, blobs_root: Path, preload: Iterable[tuple[Placement, Variant]] = (), **changes: Any
) -> FunctionSpec:
    """The worker function as this tier runs it; `changes` are fields of FunctionSpec that override."""
    preload = tuple(preload)
    roots = import_roots("functions", "awslambdaric", "numpy", "onnxruntime")
    fields: dict[str, Any] = {
        "name": tier.name,
        "handler": HANDLER,
        "task_root": Path(roots[0]),
        "python_path": roots,
        "env": {
            "MODELLESS_BLOBS": str(blobs_root.resolve()),
            "MODELLESS_THREADS": str(tier.threads),
            "MODELLESS_PRELOAD": _entries(preload),
            # onnxruntime 1.29 and later report home from a thread of their own, which also forbids a fork.
            "ORT_DISABLE_TELEMETRY": "1",
            # Huge pages for the C heap: 2,000 page faults less in a start (3 of 57 ms), for 2 MB more. And more freed
            # pieces kept at hand than 7 of a size: ONNX Runtime's start frees many small ones (0.7 ms).
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=2000",
        },
        "resident": _variants(preload),
        "memory_mb": tier.memory_mb,
        "timeout_s": tier.timeout_s,
        "start_mode": tier.start_mode,
        "concurrency": tier.concurrency,
        "queue": QUEUE,
        "idle_timeout_s": tier.idle_timeout_s,
    }
    return FunctionSpec(**{**fields, **changes})


def preload_entry(placement: Placement, variant: Variant) -> str:
    """One entry of the worker's MODELLESS_PRELOAD: what a snapshot holds ready."""
    return f"{variant.artifact}={variant.id}={placement.threads}={int(placement.prepack)}"


def _entries(preload: Iterable[tuple[Placement, Variant]]) -> str:
    return ",".join(preload_entry(*pair) for pair in preload)


def _variants(preload: Iterable[tuple[Placement, Variant]]) -> frozenset[str]:
    return frozenset(variant.id for _, variant in preload)


class ProcessBackend:
    """A Backend over one pool of environments of the worker function."""

    def __init__(
        self,
        tier: Tier,
        *,
        emit: Emit,
        blobs_root: Path,
        clock: Callable[[], float] = time.monotonic,
        preload: Iterable[tuple[Placement, Variant]] = (),
        shares: Shares | None = None,
        spec: FunctionSpec | None = None,
    ) -> None:
        """`preload` is what the snapshot of a SnapStart tier (or INIT of any other) loads; `shares` may be shared
        between tiers, and is then closed by whoever opened it."""
        self.tier = tier
        self._clock, self._emit = clock, emit
        self._spec = spec or worker_spec(tier, blobs_root, preload)
        self._shares = shares
        self._pool: Pool | None = None
        self._closed = False

    @property
    def pool(self) -> Pool:
        """The environments; opened in the running loop at first use. Raises NotReady when closed."""
        if self._closed:
            raise NotReady(f"tier {self.tier.name} is closed")
        if self._pool is None:
            self._pool = Pool(self._spec, emit=self._emit, shares=self._shares, clock=self._clock)
        return self._pool

    @property
    def cpu_share(self) -> str:
        """How the CPU share is enforced: what Profile.cpu_share says."""
        return self.pool.shares.kind

    async def prepare(self) -> None:
        """Take the snapshot of a SnapStart tier, so that no request waits for it. Raises NotReady."""
        await self.pool.prepare()

    async def preload(self, pairs: Iterable[tuple[Placement, Variant]]) -> None:
        """Have environments start with these variants resident from now on: a new snapshot, where there are any.

        Environments that have started without them end when they are free. Raises NotReady; then nothing changes.
        """
        pairs = tuple(pairs)
        env = {**self._spec.env, "MODELLESS_PRELOAD": _entries(pairs)}
        if env != self._spec.env:
            spec = replace(self._spec, env=env, resident=_variants(pairs))
            await self.pool.update(spec)
            self._spec = spec

    async def invoke(self, invocation: Invocation) -> Reply:
        """See Backend."""
        pool = self.pool
        documents: list[dict[str, Any]] = []
        event = infer_event(invocation)
        left = invocation.deadline - self._clock()
        try:
            async with asyncio.timeout(max(0.0, left)):
                answer = await pool.invoke(
                    orjson.dumps(event), want=invocation.variant.id, observe=_reader(documents.append)
                )
        except TimeoutError:
            raise TimedOut(f"no answer from {self.tier.name} within the deadline") from None
        _raise_fault(answer.error)
        reply = reply_of(documents[0], cold=answer.cold, billed_ms=answer.billed_ms, init_ms=answer.init_ms)
        # The fleet knows environments by the pool's names, not by what each calls itself.
        return replace(reply, environment=answer.environment, peak_mb=answer.peak_mb, wait_ms=answer.wait_ms)

    def status(self) -> TierStatus:
        """See Backend."""
        if self._closed:
            return TierStatus(False, "closed", 0, 0, 0, {})
        if self._pool is None:
            return TierStatus(True, "", 0, 0, 0, {})
        now = self._pool.status()
        return TierStatus(True, "", now.idle, now.busy, now.starting, now.resident)

    def lasting(self, variant: Variant, for_s: float) -> int:
        """See Expires."""
        return 0 if self._pool is None else len(self._pool.holding(variant.id, least_left_s(self.tier, for_s)))

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """See Backend."""
        event = warm_event(placement, variant)
        answers = await self.pool.ensure(
            variant.id,
            copies,
            orjson.dumps(event),
            left_s=least_left_s(self.tier, for_s),
            observe=_reader(lambda document: None),
        )
        for answer in answers:
            _raise_fault(answer.error)

    async def unload(self, variant: Variant) -> None:
        """See Unloads."""
        if self._pool is None and not self._closed:
            return
        payload = orjson.dumps(unload_event(variant))
        for answer in await self.pool.unload(variant.id, payload, observe=_reader(lambda document: None)):
            _raise_fault(answer.error)

    async def release(self, copies: int = 0) -> None:
        """See Backend."""
        await self.pool.release(copies)

    async def close(self) -> None:
        """See Backend."""
        self._closed = True
        if self._pool is not None:
            await self._pool.close()


def _reader(keep: Callable[[dict[str, Any]], None]) -> Callable[[Answer], frozenset[str] | None]:
    """Read a worker's reply once: hand the document on, and say what is resident."""

    def read(answer: Answer) -> frozenset[str] | None:
        if answer.error is not None:
            return None
        document = orjson.loads(answer.payload)
        keep(document)
        return frozenset(document["resident"])

    return read


def _raise_fault(error: FunctionError | None) -> None:
    if error is not None:
        raise fault_of(error.kind, error.message)
