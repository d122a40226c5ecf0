"""The snapshots follow the store, and survive its absence."""

from __future__ import annotations

import asyncio

import pytest

from gateway.following import follow, refresh
from gateway.snapshots import Snapshots
from gateway.virtual_time import run_virtually
from registry.errors import Unavailable
from registry.store import update
from registry.stores.memory import MemoryStore


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
