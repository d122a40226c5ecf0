"""What the profiler needs of a backend, by structure: it measures whatever runs placements and imports none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from optimizer.fingerprint import fingerprint
from registry.model import Placement, Tier, Variant

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a placement, with the attributes that every backend reads."""

    id: str
    placement: Placement
    variant: Variant
    inputs: Tensors
    deadline: float
    """On the backend's clock, in seconds."""
    floor: None = None
    """No other variant may answer instead."""
    trace: str = ""
    """Nobody traces a measurement."""

    @property
    def rows(self) -> int:
        """The batch size: the first extent of the first input."""
        return int(np.shape(next(iter(self.inputs.values())))[0])


class Reply(Protocol):
    """What the profiler reads of an answer; milliseconds throughout."""

    @property
    def cold(self) -> bool:
        """An environment was started for this run."""

    @property
    def loaded(self) -> bool:
        """The variant was loaded for this run."""

    @property
    def load_ms(self) -> float:
        """How long that took, inside the environment."""

    @property
    def billed_ms(self) -> float:
        """What the tier bills, without INIT."""


class Backend(Protocol):
    """Runs placements on one tier; it may say how its CPU share is enforced in an attribute `cpu_share`."""

    @property
    def tier(self) -> Tier:
        """The tier that it runs."""

    async def invoke(self, invocation: Any) -> Reply:
        """Run once; a caller's own class of invocation has the attributes of `Invocation`."""

    async def release(self, copies: int = 0) -> None:
        """Shrink to at most `copies` idle environments, and with none give up what is resident."""


@runtime_checkable
class Standing(Protocol):
    """What a backend has besides whose environments nobody can stop: it can keep them busy, so that others start."""

    @property
    def at_once(self) -> int:
        """Most calls that may be under way: others may want these environments, too."""

    async def occupy(self, variant: Variant, environments: int, for_ms: int) -> None:
        """Keep so many environments busy for so long, for the variant's owner; they hold afterwards what they held."""


def cpu_share(backend: Backend) -> str:
    """How a backend enforces its tier's CPU share; `none` when it does not say."""
    return str(getattr(backend, "cpu_share", "none"))


def hardware(backend: Backend) -> str:
    """What its profiles hold on: this machine, where it does not say that it runs elsewhere."""
    told: str | None = getattr(backend, "hardware", None)
    return told or str(fingerprint())


def environment_of(reply: Reply) -> str:
    """Which environment answered; empty where its backend does not say."""
    return str(getattr(reply, "environment", ""))


def peak_mb(reply: Reply) -> float | None:
    """The most memory that the environment of a run has held so far; None when its backend does not say."""
    told: float | None = getattr(reply, "peak_mb", None)
    return told
