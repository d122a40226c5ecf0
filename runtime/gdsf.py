"""GreedyDual-Size-Frequency: which resident to give up first; never evicts, loads or measures anything itself.

L. Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy", HP Labs report
HPL-98-69R1 (1998), section 3: priority = clock + frequency x cost / size. The clock is the priority of the last
victim, so what is not asked for again is overtaken however valuable it once was.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

from registry.typed import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class _Entry:
    """What a resident's priority is made of."""

    __slots__ = ("cost", "frequency", "priority", "size")

    def __init__(self, size: float, cost: float, clock: float) -> None:
        self.size = size
        self.cost = cost
        self.frequency = 1
        self.priority = clock + cost / size


class GreedyDual(Generic[K]):
    """Priorities of what is resident; not thread-safe."""

    def __init__(self) -> None:
        self.clock = 0.0
        self._entries: dict[K, _Entry] = {}

    def add(self, key: K, *, size: float, cost: float) -> None:
        """Enter `key` with frequency 1; `cost` is what losing it costs, in any one unit, as `size` is.

        A size or cost of zero counts as a millionth: a free resident is still ordered by frequency.
        """
        size, cost = max(size, 1e-6), max(cost, 1e-6)
        self._entries[key] = _Entry(size, cost, self.clock)

    def hit(self, key: K) -> None:
        """Count one more use of `key`; raises KeyError when it is not resident."""
        entry = self._entries[key]
        entry.frequency += 1
        entry.priority = self.clock + entry.frequency * entry.cost / entry.size

    def victim(self, keep: Collection[K] = ()) -> K | None:
        """The lowest priority outside `keep` (the oldest of equals); None when all must be kept."""
        candidates = [key for key in self._entries if key not in keep]
        return min(candidates, key=lambda key: self._entries[key].priority, default=None)

    def evict(self, key: K) -> None:
        """Remove a victim and advance the clock to its priority."""
        self.clock = max(self.clock, self._entries.pop(key).priority)

    def forget(self, key: K) -> None:
        """Remove a key that left for another reason; the clock stays."""
        del self._entries[key]

    def priority(self, key: K) -> float:
        """The present priority of a resident."""
        return self._entries[key].priority
