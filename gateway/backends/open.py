"""One backend for each tier that can be served from here; starts no environment and chooses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from gateway.backends.protocol import Backend, Emit
from registry.blobs import Blobs
from registry.model import Tier, TierKind


def open_backends(
    tiers: Iterable[Tier],
    *,
    emit: Emit,
    blobs: Blobs,
    functions: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Backend]:
    """Backends by tier name; tiers that nothing here can serve are left out (the service finds them not ready).

    `functions` names the worker function of each Lambda tier.
    """
    opened: dict[str, Backend] = {}
    for tier in tiers:
        backend = _open(tier, emit, blobs, functions or {}, clock)
        if backend is not None:
            opened[tier.name] = backend
    return opened


def _open(
    tier: Tier, emit: Emit, blobs: Blobs, functions: Mapping[str, str], clock: Callable[[], float]
) -> Backend | None:
    # Each kind is imported when it is first wanted: a Lambda function that routes needs no Runtime API.
    match tier.kind:
        case TierKind.INLINE:
            from gateway.backends.inline import InlineBackend  # noqa: PLC0415

            return InlineBackend(tier, emit=emit, blobs=blobs, clock=clock)
        case TierKind.PROCESS:
            from gateway.backends.process import ProcessBackend  # noqa: PLC0415

            return ProcessBackend(tier, emit=emit, blobs_root=blobs.root, clock=clock)
        case TierKind.LAMBDA if tier.name in functions:
            from gateway.backends.lambda_ import LambdaBackend  # noqa: PLC0415

            return LambdaBackend(tier, emit=emit, function=functions[tier.name], clock=clock)
    return None
