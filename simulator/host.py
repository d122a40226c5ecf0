"""What a tier is to the simulation: it takes actions and tells what came of them; it never decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from registry.catalogue import Catalogue
from registry.model import Placement, Tier
from scheduler.events import Event
from simulator.bill import Dollars
from simulator.clock import Clock
from simulator.hardware import Hardware
from simulator.policy import Ended, Invoke
from simulator.times import Times


@dataclass(frozen=True, slots=True)
class Stage:
    """What every host of a simulation shares."""

    catalogue: Catalogue
    clock: Clock
    times: Times
    hardware: Hardware
    emit: Callable[[Event], None]
    ended: Callable[[Ended, float], None]
    """Hears of every invocation that ended, and of its US dollars."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a tier was used for in a whole simulation."""

    dollars: Dollars
    idle_s: float
    """Seconds that environments were there and ran nothing, summed over them."""
    started: int
    """Environments or copies."""


class Host(Protocol):
    """Carries actions out on one tier."""

    tier: Tier

    def open(self) -> None:
        """Begin, at 0 s."""

    def invoke(self, invoke: Invoke) -> None:
        """Run these jobs; `Stage.ended` hears of it later, also where it cannot be done."""

    def cancel(self, invoke: Invoke) -> None:
        """Nobody waits for it any more: it does not begin if it has not, and its end is told to nobody."""

    def warm(self, placement: Placement, copies: int, for_s: float) -> None:
        """Have its variant resident in so many environments, for so many seconds from now, as far as there is room."""

    def unload(self, placement: Placement) -> None:
        """Have its variant resident in no idle environment."""

    def shrink(self, copies: int) -> None:
        """Keep at most so many idle environments, where the tier lets anybody choose."""

    def provision(self, copies: int) -> None:
        """Have so many environments paid for whether used or not."""

    def close(self, seconds: float) -> Use:
        """What was used, with nothing kept beyond so many seconds."""


def failed(stage: Stage, invoke: Invoke, reason: str, retry_after_s: float) -> Ended:
    """The end of what never began."""
    return Ended(invoke, stage.clock.now, False, reason, False, False, 0.0, "", retry_after_s)
