"""Which loaded things stay in one environment's memory; never loads one twice, never drops one that is in use.

Sizes are what the process really grew by (RssAnon), with the caller's floor for what is touched only later. What runs
allocate later (activations, arenas) is not charged to anyone: the budget must leave room for it. To measure growth,
loads run one at a time; uses of what is already resident never wait for a load. This module and
those it needs do without dataclasses: importing those, and what they import, costs a worker's cold start 5 ms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from registry.typed import Generic, NamedTuple, TypeVar
from runtime.errors import NoRoom
from runtime.gdsf import GreedyDual
from runtime.heap import give_back
from runtime.memory import private_mb

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Lease(NamedTuple, Generic[T]):
    """The use of a resident, and what it took to get it."""

    item: T
    loaded: bool
    """It was loaded for this lease."""
    load_ms: float


class _Resident(Generic[T]):
    """A loaded item and who keeps it."""

    __slots__ = ("item", "leaving", "pinned", "size_mb", "users")

    def __init__(self, item: T, size_mb: float) -> None:
        self.item = item
        self.size_mb = size_mb
        self.users = 1
        self.pinned = False
        self.leaving = False
        """It is given up when its last user is done, and has no new ones."""


class Residency(Generic[K, T]):
    """Residents under keys within a memory budget, given up by GreedyDual-Size-Frequency; safe for threads."""

    def __init__(
        self,
        budget_mb: float,
        *,
        size_of: Callable[[T], float] | None = None,
        memory_mb: Callable[[], float] = private_mb,
        clock: Callable[[], float] = time.perf_counter,
        release: Callable[[], None] = give_back,
        patience_s: float = 0.0,
    ) -> None:
        """`size_of` is what an item itself knows of its size in MB; by default it is the growth while it loads.

        A load waits so many seconds for what is in use and not pinned, where that is in its way. Uses must come to
        their end by themselves for that: one that waits for a load waits for itself.
        """
        self.budget_mb = budget_mb
        self._patience_s = patience_s
        self._size_of = size_of
        self._memory_mb = memory_mb
        self._clock = clock
        self._release = release
        self._residents: dict[K, _Resident[T]] = {}
        self._order: GreedyDual[K] = GreedyDual()
        self._lock = threading.Lock()
        self._unused = threading.Condition(self._lock)
        self._loading = threading.Lock()

    @contextmanager
    def lease(
        self,
        key: K,
        load: Callable[[], T],
        *,
        floor_mb: float = 0.0,
        value: float = 1.0,
        pin: bool = False,
        evict: bool = True,
    ) -> Iterator[Lease[T]]:
        """Use the resident of `key`, loading it first when it is not there; it cannot be evicted meanwhile.

        `floor_mb` is the least that it will occupy, `value` weighs what a reload costs (its milliseconds). Callers
        that ask for the same absent key load it once. Raises NoRoom when it does not fit beside what is pinned or
        stays in use, or beside everything if it may not `evict`, and whatever `load` raises; either way the residents
        that were there and stayed are unharmed.
        """
        lease = self._hold(key) or self._load(key, load, floor_mb, value, evict)
        try:
            if pin:
                self.pin(key)
            yield lease
        finally:
            with self._lock:
                resident = self._residents[key]
                resident.users -= 1
                if resident.leaving and not resident.users:
                    self._unused.notify_all()

    def pin(self, key: K, pinned: bool = True) -> None:
        """Keep a resident until it is unpinned, whatever the pressure; raises KeyError when it is not resident."""
        with self._lock:
            self._residents[key].pinned = pinned

    def pinned(self, key: K) -> bool:
        """Whether it is resident and kept until it is unpinned."""
        with self._lock:
            resident = self._residents.get(key)
            return resident is not None and resident.pinned

    def unload(self, key: K) -> bool:
        """Drop a resident that nobody uses, pinned or not; whether it is gone."""
        with self._lock:
            resident = self._residents.get(key)
            if resident is None:
                return True
            if resident.users:
                return False
            del self._residents[key]
            self._order.forget(key)
        del resident
        self._release()
        return True

    def __contains__(self, key: K) -> bool:
        """Whether it can be used now without a load."""
        with self._lock:
            resident = self._residents.get(key)
            return resident is not None and not resident.leaving

    def residents(self) -> tuple[K, ...]:
        """What is resident, oldest first."""
        with self._lock:
            return tuple(self._residents)

    @property
    def used_mb(self) -> float:
        """The sum of the residents' sizes."""
        with self._lock:
            return self._used_mb()

    def _used_mb(self) -> float:
        return sum(resident.size_mb for resident in self._residents.values())

    def _hold(self, key: K) -> Lease[T] | None:
        with self._lock:
            resident = self._residents.get(key)
            if resident is None or resident.leaving:
                return None
            resident.users += 1
            self._order.hit(key)
            return Lease(resident.item, loaded=False, load_ms=0.0)

    def _load(self, key: K, load: Callable[[], T], floor_mb: float, value: float, evict: bool) -> Lease[T]:
        with self._loading:
            # Another caller may have loaded it while this one waited.
            held = self._hold(key)
            if held is not None:
                return held
            self._make_room(key, floor_mb, evict)
            before, started = self._memory_mb(), self._clock()
            item = load()
            load_ms = (self._clock() - started) * 1e3
            grown_mb = self._size_of(item) if self._size_of else self._memory_mb() - before
            size_mb = max(grown_mb, floor_mb)
            try:
                self._make_room(key, size_mb, evict)
            except NoRoom:
                del item
                self._release()
                raise
            with self._lock:
                self._residents[key] = _Resident(item, size_mb)
                self._order.add(key, size=size_mb, cost=load_ms * value)
            return Lease(item, loaded=True, load_ms=load_ms)

    def _make_room(self, key: K, size_mb: float, evict: bool) -> None:
        victims: list[_Resident[T]] = []
        try:
            with self._lock:
                for victim in self._vacated(key, size_mb, evict):
                    victims.append(self._residents.pop(victim))
                    self._order.evict(victim)
        finally:
            if victims:
                victims.clear()
                self._release()

    def _vacated(self, key: K, size_mb: float, evict: bool) -> list[K]:
        """What is given up for so much room, once nobody uses it; raises NoRoom. The lock is let go of to wait."""
        until = self._clock() + self._patience_s
        while True:
            chosen = self._chosen(key, size_mb, evict=evict, wait=self._clock() < until)
            busy = [resident for resident in map(self._residents.__getitem__, chosen) if resident.users]
            if not busy:
                return chosen
            self._wait_for(busy, until - self._clock())

    def _wait_for(self, busy: list[_Resident[T]], seconds: float) -> None:
        for resident in busy:
            resident.leaving = True
        self._unused.wait_for(lambda: not any(resident.users for resident in busy), seconds)
        for resident in busy:
            resident.leaving = False

    def _chosen(self, key: K, size_mb: float, *, evict: bool, wait: bool) -> list[K]:
        """What is in the way of so much and best given up: what is in use last, and only where it may be waited for."""
        pinned = {k for k, resident in self._residents.items() if resident.pinned}
        used = pinned | {k for k, resident in self._residents.items() if resident.users}
        kept = (pinned if wait else used) if evict else set(self._residents)
        held_mb = sum(self._residents[k].size_mb for k in kept)
        if held_mb + size_mb > self.budget_mb:
            raise NoRoom(f"{key} needs {size_mb:.1f} MB of {self.budget_mb:.1f} MB, and {held_mb:.1f} MB are in use")
        chosen: list[K] = []
        while sum(r.size_mb for k, r in self._residents.items() if k not in chosen) + size_mb > self.budget_mb:
            victim = self._order.victim(keep=used.union(chosen))
            if victim is None:
                victim = self._order.victim(keep=pinned.union(chosen))
            assert victim is not None, "what is not kept can be evicted"
            chosen.append(victim)
        return chosen
