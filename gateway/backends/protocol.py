"""What every backend is to the service: a handful of methods and two values; never a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from registry.model import Placement, Tier, Variant
from scheduler.events import Event

Tensors = Mapping[str, NDArray[Any]]
"""Tensors by name; BYTES tensors are object arrays of `bytes`."""

Emit = Callable[[Event], None]
"""Where a backend reports what happens to its environments; the service applies it to the fleet."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a placement on inputs that were already checked against the task's signature."""

    id: str
    placement: Placement
    variant: Variant
    inputs: Tensors
    deadline: float
    """On the backend's clock (seconds); no answer is wanted after it."""
    floor: float | None = None
    """Least accuracy of another variant that may answer instead, where the tier can choose; None: none may."""
    trace: str = ""
    """The trace that it is part of, as a W3C `traceparent`; empty when nobody traces."""

    @property
    def rows(self) -> int:
        """The batch size: the first extent of the first input."""
        return int(np.shape(next(iter(self.inputs.values())))[0])


@dataclass(frozen=True, slots=True)
class Reply:
    """What a run gave, and how it came about; milliseconds throughout."""

    outputs: Tensors
    environment: str
    cold: bool
    """An environment was started for this run."""
    loaded: bool
    """The variant was loaded for this run."""
    run_ms: float
    """Inside the session."""
    billed_ms: float
    """What the tier bills, without INIT."""
    init_ms: float = 0.0
    load_ms: float = 0.0
    wait_ms: float = 0.0
    """For a slot, where the tier had none free; what is left of the caller's time is service."""
    peak_mb: float | None = None
    """Most memory that the environment has held so far; None where it does not tell."""
    variant: str | None = None
    """Id of the variant that answered, where the tier could choose another; None: the one that was asked for."""


@dataclass(frozen=True, slots=True)
class TierStatus:
    """What a backend knows of its tier now."""

    ready: bool
    reason: str
    """Empty when ready."""
    idle: int
    busy: int
    starting: int
    resident: Mapping[str, int]
    """Variant id to the number of environments that hold it."""


@runtime_checkable
class Preloads(Protocol):
    """A Backend whose environments can start with variants resident."""

    async def preload(self, pairs: Iterable[tuple[Placement, Variant]]) -> None:
        """Have environments start with these variants resident from now on. Raises NotReady; then nothing changes."""


@runtime_checkable
class Expires(Protocol):
    """A Backend whose environments end when they have been idle for long."""

    def lasting(self, variant: Variant, for_s: float) -> int:
        """Environments that hold the variant and will for `for_s` seconds, even if nobody uses them; does no I/O."""


def is_to_change(current: int, copies: int, *, more: bool, fewer: bool) -> bool:
    """Whether a count is to be set to `copies`, by who may only raise it, only lower it, or both."""
    return (more and copies > current) or (fewer and copies < current)


def least_left_s(tier: Tier, for_s: float) -> float:
    """How much of its idle time an environment must have left: `for_s`, and half of all that it may have at most.

    Longer it cannot be kept by one more use for sure.
    """
    return min(for_s, tier.idle_timeout_s / 2)


@runtime_checkable
class Unloads(Protocol):
    """A Backend that can give up one variant and keep its environments."""

    async def unload(self, variant: Variant) -> None:
        """Have the variant resident in no environment that is idle; one that runs gives it up at its end. Idempotent.

        Starts no environment. Raises NotReady, or Throttled when some hold it still.
        """


@runtime_checkable
class Shared(Protocol):
    """A Backend whose environments others use too, and that learns of them by what those saw."""

    def sighted(self, environment: str, resident: tuple[str, ...], at: float) -> None:
        """Somebody else found this in an environment (by its name in the fleet), at a time on the clock (s).

        What is known better stands; does no I/O.
        """


@runtime_checkable
class Provisions(Protocol):
    """A Backend whose environments are paid for whether used or not, so many at a time."""

    async def provision(self, copies: int, *, more: bool = True, fewer: bool = True) -> bool:
        """Have so many paid for, and say whether that was asked for anew; idempotent. They may take minutes.

        Without `more` the count is never raised, without `fewer` never lowered: that is somebody else's part.
        Raises NotReady where this tier's count is not to be set, and Throttled when it cannot be so now.
        """


class Backend(Protocol):
    """Carries decisions out on one tier."""

    tier: Tier

    async def prepare(self) -> None:
        """Do beforehand what no request should wait for and no environment is: import the runtime, take a snapshot.

        Idempotent. Raises NotReady.
        """

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run once and return exactly one reply, or raise one BackendError.

        Never retries, and never outlives the deadline.
        """

    def status(self) -> TierStatus:
        """What is running now; does no I/O."""

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """Make `copies` environments warm with the variant resident, and stay so for `for_s` seconds; idempotent.

        One that would expire sooner, unused, is used once more. Raises Throttled when the tier's concurrency does not
        allow it, CorruptArtifact, or NotReady.
        """

    async def release(self, copies: int = 0) -> None:
        """Shrink to at most `copies` idle environments; running requests finish."""

    async def close(self) -> None:
        """Stop everything this backend started; further calls raise NotReady."""
