"""What stays in memory: the budget, those in use, coalesced loads; memory and time are scripted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import NoRoom
from runtime.residency import Residency


class World:
    """Memory and time that loads change: each item is its key, of a given size, and takes a given time to load."""

    def __init__(self, budget_mb: float, *, patience_s: float = 0.0) -> None:
        self.memory_mb = 50.0
        self.now = 0.0
        self.loads: list[str] = []
        self.releases = 0
        self.residency: Residency[str, str] = Residency(
            budget_mb,
            memory_mb=lambda: self.memory_mb,
            clock=lambda: self.now,
            release=self._release,
            patience_s=patience_s,
        )
        self.waits = threading.Event()
        """A load waits for what is in use."""
        self._wait_for = self.residency._unused.wait_for
        self.residency._unused.wait_for = self._waited  # type: ignore[method-assign, assignment]

    def _waited(self, predicate: Callable[[], bool], timeout: float) -> bool:
        self.waits.set()
        ended = self._wait_for(predicate, timeout)
        self.now += 0.0 if ended else timeout
        return ended

    def _release(self) -> None:
        self.releases += 1

    def loader(self, key: str, size_mb: float, load_ms: float = 1.0) -> Callable[[], str]:
        """What loads `key`."""

        def load() -> str:
            self.loads.append(key)
            self.memory_mb += size_mb
            self.now += load_ms / 1e3
            return key

        return load

    def use(self, key: str, size_mb: float, load_ms: float = 1.0, **options: float | bool) -> bool:
        """One use; whether it was loaded for it."""
        with self.residency.lease(key, self.loader(key, size_mb, load_ms), **options) as lease:  # type: ignore[arg-type]
            assert lease.item == key
            return lease.loaded


def test_the_second_use_is_not_loaded_and_the_first_says_what_it_took() -> None:
    world = World(100)
    with world.residency.lease("a", world.loader("a", 10, load_ms=7)) as lease:
        assert (lease.item, lease.loaded) == ("a", True)
        assert lease.load_ms == pytest.approx(7)

    assert "a" in world.residency
    assert "b" not in world.residency
    assert world.use("a", 10) is False
    assert world.loads == ["a"]
    assert world.residency.used_mb == 10


def test_growth_is_measured_and_the_floor_counts_when_it_is_more() -> None:
    world = World(100)
    world.use("a", 3, floor_mb=8)
    world.use("b", 9, floor_mb=8)

    assert world.residency.used_mb == 17


def test_an_item_may_know_its_own_size() -> None:
    residency: Residency[str, str] = Residency(100, size_of=len)
    with residency.lease("a", lambda: "five!"):
        assert residency.used_mb == 5


def test_the_cheapest_per_megabyte_makes_room() -> None:
    world = World(100)
    world.use("dear", 40, load_ms=400)
    world.use("cheap", 40, load_ms=4)
    world.use("new", 40, load_ms=40)

    assert world.residency.residents() == ("dear", "new")
    assert world.releases == 1


def test_value_weighs_the_cost_of_a_reload() -> None:
    world = World(100)
    world.use("quick but valued", 40, load_ms=4, value=1000.0)
    world.use("slow", 40, load_ms=400)
    world.use("new", 40)

    assert world.residency.residents() == ("quick but valued", "new")


def test_what_may_not_evict_takes_only_what_is_free() -> None:
    world = World(100.0)
    world.use("a", 60.0)
    with pytest.raises(NoRoom, match=r"b needs 50\.0 MB of 100\.0 MB, and 60\.0 MB are in use"):
        world.use("b", 50.0, floor_mb=50.0, evict=False)
    assert world.loads == ["a"]
    with pytest.raises(NoRoom):
        world.use("b", 50.0, evict=False)  # which is known once it is loaded
    assert world.residency.residents() == ("a",)
    assert world.use("c", 40.0, evict=False)
    assert world.use("b", 50.0)


def test_a_known_floor_makes_room_before_the_load() -> None:
    world = World(100)
    world.use("old", 60)
    seen: list[tuple[str, ...]] = []

    def load() -> str:
        seen.append(world.residency.residents())
        return "new"

    with world.residency.lease("new", load, floor_mb=60):
        assert seen == [()]


def test_what_is_in_use_is_never_evicted() -> None:
    world = World(100)
    with world.residency.lease("held", world.loader("held", 60)):
        with pytest.raises(NoRoom, match=r"other needs 60\.0 MB of 100\.0 MB, and 60\.0 MB are in use"):
            world.use("other", 60)
        assert world.residency.residents() == ("held",)
        assert world.residency.unload("held") is False
    assert world.use("other", 60) is True
    assert world.residency.residents() == ("other",)


def test_what_is_pinned_is_never_evicted_until_it_is_unpinned() -> None:
    world = World(100)
    world.use("pinned", 60, pin=True)
    with pytest.raises(NoRoom):
        world.use("other", 60)
    assert [world.residency.pinned(key) for key in ("pinned", "other")] == [True, False]

    world.residency.pin("pinned", pinned=False)

    assert not world.residency.pinned("pinned")
    assert world.use("other", 60) is True


def test_what_can_never_fit_is_refused_and_nothing_stays_of_it() -> None:
    world = World(100)
    world.use("a", 10)
    with pytest.raises(NoRoom):
        world.use("giant", 101)

    assert world.residency.residents() == ("a",)


def test_a_failed_load_leaves_the_others() -> None:
    world = World(100)
    world.use("a", 10)

    def fail() -> str:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"), world.residency.lease("b", fail):
        pass
    assert world.residency.residents() == ("a",)
    assert world.use("b", 10) is True


def test_an_error_in_use_ends_the_use() -> None:
    world = World(100)
    with pytest.raises(ZeroDivisionError), world.residency.lease("a", world.loader("a", 10)):
        raise ZeroDivisionError

    assert world.residency.unload("a") is True
    assert world.residency.unload("a") is True, "what is not there is gone"
    assert world.residency.residents() == ()


def test_callers_of_the_same_absent_key_load_it_once() -> None:
    world = World(100)
    started, may_finish = threading.Event(), threading.Event()

    def load() -> str:
        world.loads.append("a")
        started.set()
        assert may_finish.wait(10)
        return "a"

    loaded: list[bool] = []

    def use() -> None:
        with world.residency.lease("a", load) as lease:
            loaded.append(lease.loaded)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    may_finish.set()
    for thread in threads:
        thread.join(10)

    assert world.loads == ["a"]
    assert sorted(loaded) == [False, False, False, True]


def test_a_resident_is_served_while_another_loads() -> None:
    world = World(100)
    world.use("a", 1)
    started, may_finish = threading.Event(), threading.Event()

    def load() -> str:
        started.set()
        assert may_finish.wait(10)
        return "slow"

    def use() -> None:
        with world.residency.lease("slow", load):
            pass

    thread = threading.Thread(target=use)
    thread.start()
    assert started.wait(10)

    assert world.use("a", 1) is False

    may_finish.set()
    thread.join(10)
    assert world.residency.residents() == ("a", "slow")


class Busy:
    """Residents in use, each on a thread of its own, until they are told to end."""

    def __init__(self, world: World, **sizes: float) -> None:
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._use, args=(world, key, size)) for key, size in sizes.items()]
        self._began = threading.Barrier(len(sizes) + 1)
        for thread in self._threads:
            thread.start()
        self._began.wait(10)

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(10)

    def _use(self, world: World, key: str, size: float) -> None:
        with world.residency.lease(key, world.loader(key, size)):
            self._began.wait(10)
            assert self._end.wait(10)


def test_a_load_waits_for_what_is_in_its_way_and_in_use_and_nobody_passes_it() -> None:
    world = World(100, patience_s=10)
    world.use("idle", 30)
    busy = Busy(world, held=60)
    used: list[tuple[str, bool]] = []
    loading = threading.Thread(target=lambda: used.append(("new", world.use("new", 60))))
    loading.start()
    assert world.waits.wait(10)
    assert "held" not in world.residency
    again = threading.Thread(target=lambda: used.append(("held", world.use("held", 60))))
    again.start()
    assert world.use("idle", 30) is False
    assert used == []
    busy.end()
    for thread in (loading, again):
        thread.join(10)
    assert used == [("new", True), ("held", True)]
    assert world.residency.residents() == ("idle", "held")


def test_what_idles_goes_before_what_is_waited_for() -> None:
    world = World(100, patience_s=10)
    busy = Busy(world, held=60)
    world.use("idle", 30)
    assert world.use("new", 40) is True
    assert world.residency.residents() == ("held", "new")
    busy.end()


def test_what_stays_in_use_is_not_waited_for_for_ever() -> None:
    world = World(100, patience_s=0.001)
    busy = Busy(world, held=60)
    with pytest.raises(NoRoom, match=r"60\.0 MB are in use"):
        world.use("new", 60)
    assert world.use("held", 60) is False
    busy.end()


def test_what_is_pinned_is_not_waited_for() -> None:
    world = World(100, patience_s=1e9)
    world.use("pinned", 60, pin=True)
    busy = Busy(world, held=30)
    with pytest.raises(NoRoom, match=r"60\.0 MB are in use"):
        world.use("new", 60)
    busy.end()


def test_what_is_pinned_while_it_is_waited_for_stays() -> None:
    world = World(100, patience_s=10)
    busy = Busy(world, held=60)
    refused: list[bool] = []

    def load() -> None:
        with pytest.raises(NoRoom):
            world.use("new", 60)
        refused.append(True)

    loading = threading.Thread(target=load)
    loading.start()
    assert world.waits.wait(10)
    assert "held" not in world.residency
    world.residency.pin("held")
    busy.end()
    loading.join(10)
    assert refused == [True]
    assert world.residency.residents() == ("held",)


@settings(max_examples=200)
@given(
    st.floats(10, 100),
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 60), st.floats(0, 50), st.booleans(), st.booleans()),
        max_size=40,
    ),
)
def test_the_budget_holds_and_what_is_kept_stays(
    budget_mb: float, uses: list[tuple[str, float, float, bool, bool]]
) -> None:
    world = World(budget_mb)
    sizes: dict[str, float] = {}
    kept: set[str] = set()
    with ExitStack() as held:
        for key, size_mb, load_ms, hold, pin in uses:
            size = sizes.setdefault(key, size_mb)
            lease = world.residency.lease(key, world.loader(key, size, load_ms), floor_mb=size, pin=pin)
            try:
                with ExitStack() as use:
                    assert use.enter_context(lease).item == key
                    if hold:
                        held.push(use.pop_all())
            except NoRoom:
                assert sum(sizes[k] for k in kept) + size > budget_mb * (1 - 1e-9)
                continue
            kept |= {key} if hold or pin else set()
            residents = world.residency.residents()
            assert key in residents
            assert kept <= set(residents)
            assert len(residents) == len(set(residents))
            assert world.residency.used_mb <= budget_mb
