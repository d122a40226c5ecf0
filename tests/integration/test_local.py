"""A home folder opened as a platform: real store, real blobs, the inline backend, no network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.auth import ANONYMOUS
from gateway.backends.protocol import Invocation
from gateway.capacity.local import keeping_warm
from gateway.errors import Unavailable, UnknownTask
from gateway.local import Platform, open_blobs, open_store
from optimizer.artifact import make_artifact
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import lambda_tiers, local_tiers
from registry.store import update
from registry.stores.activity import FILE, SqliteActivity

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)
X = np.ones((2, 3), np.float32)
SPECS = (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 2)),)

Register = Callable[..., Catalogue]


@pytest.fixture
def register(tmp_path: Path, graphs: Any) -> Register:
    """Registers the one variant of a task on a tier, and returns what is published."""

    def on(tier: str = "inline") -> Catalogue:
        blobs, store = open_blobs(tmp_path), open_store(tmp_path)
        accuracy = Accuracy(0.9, 0.9, 0.9, 10, "wilson")
        variant = Variant("product", "only", make_artifact(graphs.linear(WEIGHTS), blobs), Recipe("test"), accuracy)
        placement = Placement(variant.id, tier)
        quick = Quantiles((1.0,) * len(LEVELS), 1.0)
        profile = Profile(placement.id, (ServiceTime(1, quick, 1.0),), ZERO, ZERO, 1.0, "test", "none", 1, "now")

        def edit(base: Catalogue) -> Catalogue:
            made = base.with_tasks(Task("product", *SPECS, "accuracy")).with_tiers(*local_tiers(), *lambda_tiers())
            return made.with_variants(variant).with_placements(placement).with_profiles(profile)

        published = update(store, edit)
        store.close()
        return published

    return on


async def test_serves_what_a_home_holds(tmp_path: Path, register: Register) -> None:
    register()
    async with Platform.open(tmp_path) as platform:
        answer = await platform.service.predict(ANONYMOUS, "product", {"x": X})
        np.testing.assert_allclose(answer.outputs["y"], X @ WEIGHTS)
        assert (answer.decision.tier, answer.decision.loaded, answer.decision.cold_start) == ("inline", True, False)
        assert not (await platform.service.predict(ANONYMOUS, "product", {"x": X})).decision.loaded
    assert not platform.backends["inline"].status().ready


async def test_takes_in_what_is_registered_while_it_is_open(tmp_path: Path, register: Register) -> None:
    async with Platform.open(tmp_path) as platform:
        assert platform.backends == {}
        with pytest.raises(UnknownTask):
            await platform.service.predict(ANONYMOUS, "product", {"x": X})
        published = register()
        assert (await platform.refresh()).version == published.version
        assert set(platform.backends) == {tier.name for tier in local_tiers()}
        assert (await platform.service.predict(ANONYMOUS, "product", {"x": X})).decision.slo_met


async def test_a_tier_that_nothing_here_serves_is_not_ready(tmp_path: Path, register: Register) -> None:
    register("lambda-1769")
    async with Platform.open(tmp_path) as platform:
        with pytest.raises(Unavailable) as refused:
            await platform.service.predict(ANONYMOUS, "product", {"x": X})
        assert "no backend serves" in refused.value.details["attempts"][0]["error"]


async def test_lambda_tiers_are_served_where_their_functions_are_named(tmp_path: Path, register: Register) -> None:
    register("lambda-1769")
    async with Platform.open(tmp_path, functions={"lambda-1769": "worker:live"}) as platform:
        assert platform.backends["lambda-1769"].status().ready
        assert "lambda-3538" not in platform.backends


async def test_a_profiler_opens_tiers_before_the_catalogue_has_them(tmp_path: Path) -> None:
    async with Platform.open(tmp_path) as platform:
        platform.serve(*local_tiers())
        backend = platform.backends["inline"]
        platform.serve(*local_tiers())
        assert platform.backends["inline"] is backend


async def test_snapshots_hold_what_the_catalogue_has(tmp_path: Path, register: Register) -> None:
    tier = "process-1769-snapstart"
    catalogue = register(tier)
    variant = catalogue.variants["product/only"]
    async with Platform.open(tmp_path) as platform:
        await platform.prepare(preload=True)
        backend = platform.backends[tier]
        invocation = Invocation("r", catalogue.placements_of("product")[0], variant, {"x": X}, time.monotonic() + 30)
        reply = await backend.invoke(invocation)

        assert (reply.cold, reply.loaded) == (True, False)
        assert backend.status().resident == {variant.id: 1}


async def test_what_was_asked_for_is_known_after_a_restart(tmp_path: Path, register: Register) -> None:
    register()
    for requests in (2, 5):
        async with Platform.open(tmp_path) as platform, keeping_warm(platform, math.inf) as keeper:
            assert keeper is not None
            for _ in range(requests):
                await platform.service.predict(ANONYMOUS, "product", {"x": X})
    log = SqliteActivity(tmp_path / FILE)
    usages = [usage for minute in log.between(0, 2**40) for usage in minute.usages]
    assert (sum(u.requests for u in usages), sum(u.rows for u in usages)) == (7, 14)
    log.close()
    async with Platform.open(tmp_path) as platform, keeping_warm(platform, 0.0) as keeper:
        assert keeper is None


async def test_a_log_that_is_none_keeps_nobody_from_being_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, register: Register
) -> None:
    register()
    (tmp_path / FILE).write_bytes(b"no database, but long enough to be taken for the head of one" * 20)
    async with Platform.open(tmp_path) as platform, keeping_warm(platform, math.inf) as keeper:
        assert keeper is not None
        await platform.service.predict(ANONYMOUS, "product", {"x": X})
        await keeper.write_down()
    assert FILE in caplog.text


async def test_a_profiler_finds_snapshots_without_variants(tmp_path: Path, register: Register) -> None:
    tier = "process-1769-snapstart"
    catalogue = register(tier)
    variant = catalogue.variants["product/only"]
    async with Platform.open(tmp_path) as platform:
        await platform.prepare()
        invocation = Invocation("r", catalogue.placements_of("product")[0], variant, {"x": X}, time.monotonic() + 30)
        reply = await platform.backends[tier].invoke(invocation)

        assert (reply.cold, reply.loaded) == (True, True)
