"""The pair of catalogue and fleet moves together, and follows the store."""

from __future__ import annotations

import asyncio

import pytest

from gateway.snapshots import Snapshots, follow, refresh
from gateway.virtual_time import run_virtually
from registry.errors import Unavailable
from registry.store import update
from registry.stores.memory import MemoryStore
from scheduler.events import EnvironmentBusy, EnvironmentReady, EnvironmentStarting, Queued


def test_events_move_the_fleet_and_impossible_ones_are_dropped(make_catalogue, caplog):
    caplog.set_level("INFO")
    snapshots = Snapshots(make_catalogue({("small", "a"): 1.0}))
    before = snapshots.view()
    snapshots.emit(EnvironmentStarting("a", "e", 0.0))
    assert snapshots.view()[1] is not before[1]
    moved = snapshots.view()
    snapshots.emit(Queued("sum/gone@a:1", "r", 1.0, 0.0))
    snapshots.emit(EnvironmentBusy("nowhere", "e", 0.0))
    assert snapshots.view() == moved
    assert caplog.text.count("dropped") == 2


def test_a_newer_catalogue_keeps_the_fleets_state(make_catalogue):
    catalogue = make_catalogue({("small", "a"): 1.0})
    snapshots = Snapshots(catalogue)
    snapshots.emit(EnvironmentReady("a", "e", ("sum/small",), 0.0))
    newer = make_catalogue({("small", "a"): 1.0, ("large", "a"): 2.0}).at(2)
    snapshots.replace(newer)
    assert snapshots.view()[0] is newer
    snapshots.emit(EnvironmentBusy("a", "e", 1.0))  # impossible, had the environment been forgotten
    assert snapshots.view()[1] is not None


class Flaky(MemoryStore):
    """Unreachable as often as told."""

    failures = 0

    def head(self) -> int:
        if self.failures:
            self.failures -= 1
            raise Unavailable("store", "out of reach")
        return super().head()


@pytest.mark.parametrize("failures", [0, 3])
async def test_follows_the_store_and_survives_its_absence(make_catalogue, failures):
    store, seen = Flaky(), asyncio.Queue()
    snapshots = Snapshots(store.load())
    following = asyncio.create_task(follow(store, snapshots, changed=seen.put_nowait, poll_s=0.001))
    for tiers in (1, 2):
        facts = make_catalogue({("small", f"t{i}"): 1.0 for i in range(tiers)})
        published = update(store, lambda base, facts=facts: facts.at(base.version))
        store.failures = failures
        async with asyncio.timeout(30):
            assert (await seen.get()).version == published.version
    following.cancel()


def test_refresh_reads_the_catalogue_only_when_it_moved(make_catalogue):
    async def main():
        store, seen = MemoryStore(), []
        snapshots = Snapshots(store.load())
        await refresh(store, snapshots, changed=seen.append)
        assert seen == []
        update(store, lambda base: make_catalogue({("small", "a"): 1.0}))
        await refresh(store, snapshots, changed=seen.append)
        await refresh(store, snapshots, changed=seen.append)
        assert [catalogue.version for catalogue in seen] == [1]

    run_virtually(main())
