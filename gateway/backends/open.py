"""One backend for each tier that can be served from here; starts no environment and chooses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.backends.components import Component
from gateway.backends.protocol import Backend, Emit
from registry.blobs import Blobs
from registry.leases import Leases
from registry.model import Tier, TierKind


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where tiers run that do not run in this process."""

    home: Path | None
    """What containers of this machine serve."""
    functions: Mapping[str, str]
    containers: Mapping[str, str]
    gpus: Mapping[str, Component]
    leases: Leases | None


def open_backends(
    tiers: Iterable[Tier],
    *,
    emit: Emit,
    blobs: Blobs,
    home: Path | None = None,
    functions: Mapping[str, str] | None = None,
    containers: Mapping[str, str] | None = None,
    gpus: Mapping[str, Component] | None = None,
    leases: Leases | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Backend]:
    """Backends by tier name; tiers that nothing here can serve are left out (the service finds them not ready).

    `functions` names the worker function of each Lambda tier, `containers` the URL of each container that runs
    elsewhere, and `gpus` the inference component of each tier on SageMaker, whose copies are shared by `leases` with
    whoever has the same ones; other containers serve `home` as processes of this machine. Raises InvalidValue for a URL
    that is none.
    """
    elsewhere = Elsewhere(home, functions or {}, containers or {}, gpus or {}, leases)
    opened: dict[str, Backend] = {}
    for tier in tiers:
        backend = _open(tier, emit, blobs, elsewhere, clock)
        if backend is not None:
            opened[tier.name] = backend
    return opened


def _open(tier: Tier, emit: Emit, blobs: Blobs, elsewhere: Elsewhere, clock: Callable[[], float]) -> Backend | None:
    # Each kind is imported when it is first wanted: a Lambda function that routes needs no Runtime API.
    match tier.kind:
        case TierKind.INLINE:
            from gateway.backends.inline import InlineBackend  # noqa: PLC0415

            return InlineBackend(tier, emit=emit, blobs=blobs, clock=clock)
        case TierKind.PROCESS:
            from gateway.backends.process import ProcessBackend  # noqa: PLC0415

            return ProcessBackend(tier, emit=emit, blobs_root=blobs.root, clock=clock)
        case TierKind.GPU if tier.name in elsewhere.gpus:
            from gateway.backends.sagemaker import SageMakerBackend  # noqa: PLC0415

            component = elsewhere.gpus[tier.name]
            return SageMakerBackend(tier, emit=emit, component=component, leases=elsewhere.leases, clock=clock)
        case TierKind.LAMBDA | TierKind.GPU if tier.name in elsewhere.functions:
            from gateway.backends.lambda_ import LambdaBackend  # noqa: PLC0415

            return LambdaBackend(tier, emit=emit, function=elsewhere.functions[tier.name], clock=clock)
        case TierKind.CONTAINER | TierKind.GPU:
            return _open_container(tier, emit, elsewhere, clock)
    return None


def _open_container(tier: Tier, emit: Emit, elsewhere: Elsewhere, clock: Callable[[], float]) -> Backend | None:
    from gateway.backends.container import ContainerBackend  # noqa: PLC0415
    from gateway.backends.container_child import command_of  # noqa: PLC0415
    from gateway.backends.container_place import Local, Remote  # noqa: PLC0415

    url, home = elsewhere.containers.get(tier.name), elsewhere.home
    if url is not None:
        return ContainerBackend(tier, emit=emit, place=lambda watcher: Remote(url, watcher, clock=clock), clock=clock)
    if home is None:
        return None
    command = command_of(tier, home)
    return ContainerBackend(tier, emit=emit, place=lambda watcher: Local(command, watcher, clock=clock), clock=clock)
