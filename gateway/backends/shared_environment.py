"""The one environment that all runs of a tier share, as the fleet is told of it; starts and runs nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gateway.backends.protocol import Emit, TierStatus
from registry.model import Tier
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting


class SharedEnvironment:
    """Comes and goes; takes any number of runs, of which `tier.concurrency` are told as running and the rest wait."""

    def __init__(self, tier: Tier, *, emit: Emit, clock: Callable[[], float]) -> None:
        self.resident: frozenset[str] = frozenset()
        """Variant ids; what is told at the end of the next run, or at once by `report` where nothing runs."""
        self.under_way = 0
        self._tier = tier
        self._emit = emit
        self._clock = clock
        self._starting = False
        self._here = False
        self._told = 0
        self._life = 0

    @property
    def full(self) -> bool:
        """Whether one more run can only wait."""
        return self.under_way >= self._tier.concurrency

    @property
    def starting(self) -> bool:
        """Whether it began to start and does not take runs yet."""
        return self._starting

    @property
    def here(self) -> bool:
        """Whether it takes runs."""
        return self._here

    def starts(self) -> None:
        """It begins to start."""
        self._starting = True
        self._emit(EnvironmentStarting(self._tier.name, self._tier.name, self._clock()))

    def came(self) -> None:
        """It takes runs from now on, and holds nothing."""
        self._starting, self._here, self.resident = False, True, frozenset()
        self._ready()

    def sighted(self, resident: Collection[str], at: float) -> None:
        """Somebody else found it taking runs and holding this, at a time on the clock (s)."""
        if not (self._starting or self._here):
            self.starts()
        self._starting, self._here, self.resident = False, True, frozenset(resident)
        if not self._told:
            self._ready(at)

    def went(self, reason: str) -> None:
        """It is not there any more, and the runs that it had are none of the next one's; nothing if it was not."""
        if self._starting or self._here:
            self._starting, self._here, self.resident = False, False, frozenset()
            self.under_way = self._told = 0
            self._life += 1
            self._emit(EnvironmentGone(self._tier.name, self._tier.name, reason, self._clock()))

    def begin(self) -> int:
        """One more run; returns what `end` wants to know."""
        self.under_way += 1
        self._tell_next()
        return self._life

    def end(self, life: int) -> None:
        """A run ended."""
        if life != self._life:
            return
        self.under_way -= 1
        self._told -= 1
        self._ready()
        self._tell_next()

    def report(self, resident: Collection[str]) -> None:
        """This is resident now."""
        self.resident = frozenset(resident)
        # While runs are under way, the end of one will tell: a report counts as the end of a run.
        if self._here and not self._told:
            self._ready()

    def status(self, reason: str) -> TierStatus:
        """What there is, or for what `reason` it is not."""
        return TierStatus(
            ready=not reason,
            reason=reason,
            idle=int(self._here and not self.full),
            busy=int(self._here and self.full),
            starting=int(self._starting),
            resident=dict.fromkeys(self.resident, 1),
        )

    def _tell_next(self) -> None:
        if self._told < min(self.under_way, self._tier.concurrency):
            self._told += 1
            self._emit(EnvironmentBusy(self._tier.name, self._tier.name, self._clock()))

    def _ready(self, at: float | None = None) -> None:
        now = self._clock() if at is None else at
        self._emit(EnvironmentReady(self._tier.name, self._tier.name, tuple(sorted(self.resident)), now))
