"""What failed says something of its recipe, or of the hour: that is tried again later, and nothing else meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.errors import EnvironmentLost, ExecutionFailed, InitFailed, NotReady, Throttled
from gateway.generation import making
from gateway.generation.making import LONGEST_PAUSE_S, PAUSE_S, Workshop, ended, generation_for
from optimizer.errors import MeasurementFailed, NoNewEnvironment
from optimizer.generate.generated import Expectation
from optimizer.ondemand import Option
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.errors import InvalidValue
from registry.generations import Asked, Generation, GenerationState
from registry.lineage import Sources
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import local_tiers
from registry.stores.generations import FILE, SqliteGenerations
from registry.stores.memory import MemoryStore

BASIS = "blake3:" + "0" * 64
NOW = 1_790_000_000.0
ASKED = Asked("t", Slo(latency_ms=50.0))
POSSIBLE = tuple(
    Option(name, name, Recipe("trees", "forest", (("percent", str(percent)),)), Expectation(latency=percent / 100))
    for percent in (20, 30)
    for name in (f"trees-{percent}",)
)
CROWDED = NoNewEnvironment("far gave no new environment in 9 calls")


def catalogue() -> Catalogue:
    """A forest that takes 100 ms."""
    (tier, *_), always = local_tiers(), Quantiles((100.0,) * len(LEVELS), 100.0)
    task = Task("t", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy")
    forest = Variant("t", "forest", BASIS, Recipe("onnx"), Accuracy(0.9, 0.8, 1.0, 100, "wilson"))
    placement = Placement(forest.id, tier.name)
    profile = Profile(placement.id, (ServiceTime(1, always, 100.0),), ZERO, ZERO, 1.0, "test", "none", 1, "now")
    made = Catalogue.empty().with_tasks(task).with_tiers(tier).with_variants(forest).with_placements(placement)
    return made.with_profiles(profile).with_sources(Sources("t", BASIS, None, (("forest", BASIS),)))


class Hours:
    """Generations on a clock that is set, each asked for and ended by what is raised."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch, self.now = folder, patch, NOW
        self.generations = SqliteGenerations(folder / FILE, now=self.iso)

    def iso(self) -> str:
        return datetime.fromtimestamp(self.now, UTC).isoformat(timespec="seconds")

    def asked(self) -> Generation | None:
        return generation_for(ASKED, catalogue(), POSSIBLE, self.generations, self.now)

    async def ended(self, fault: Exception) -> Generation:
        """The next generation that is asked for, ended by this."""

        async def refuse(*_: object, **__: object) -> None:
            raise fault

        self.patch.setattr(making, "register_more", refuse)
        store = MemoryStore()
        store.publish(catalogue())
        generation = self.asked()
        assert generation is not None
        running = self.generations.move(generation.id, GenerationState.RUNNING)
        return await ended(running, Workshop(store, Files(self.folder / "blobs"), {}), self.generations)


@pytest.fixture
def hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hours]:
    hours = Hours(tmp_path, monkeypatch)
    yield hours
    hours.generations.close()


async def test_what_failed_for_want_of_an_environment_is_tried_again_later(hours: Hours) -> None:
    failed = await hours.ended(CROWDED)
    assert (failed.state, failed.passing) == (GenerationState.FAILED, True)
    assert "no new environment" in failed.reason

    assert hours.asked() is None  # another recipe would be measured in the same hour
    hours.now += PAUSE_S - 1
    assert hours.asked() is None
    hours.now += 1
    again = hours.asked()
    assert again is not None
    assert (again.recipe, again.id != failed.id) == (failed.recipe, True)


async def test_what_goes_on_is_tried_less_and_less_often(hours: Hours) -> None:
    pauses = []
    for _ in range(8):
        await hours.ended(CROWDED)
        began = hours.now
        while hours.asked() is None:
            hours.now += PAUSE_S
        pauses.append((hours.now - began) / PAUSE_S)
    assert pauses == [1, 2, 4, 8, 16, 32, 32, 32]
    assert LONGEST_PAUSE_S / PAUSE_S == 32

    verdict = await hours.ended(MeasurementFailed("does not stay loaded"))
    assert not verdict.passing
    other = await hours.ended(CROWDED)
    assert other.recipe != verdict.recipe
    hours.now += PAUSE_S
    assert hours.asked() is not None


@pytest.mark.parametrize("fault", [CROWDED, Throttled("no more"), NotReady("no copies"), InitFailed("no", b"{}")])
async def test_what_a_tier_refuses_now_says_nothing_of_the_recipe(hours: Hours, fault: Exception) -> None:
    assert (await hours.ended(fault)).passing


@pytest.mark.parametrize(
    "fault",
    [
        MeasurementFailed("does not stay loaded"),
        ExecutionFailed("out of range"),
        EnvironmentLost("killed for memory"),
        InvalidValue("model", "is none", "give one"),
        ZeroDivisionError("a bug"),
    ],
)
async def test_a_verdict_stays_and_the_next_recipe_is_tried_at_once(hours: Hours, fault: Exception) -> None:
    failed = await hours.ended(fault)
    assert (failed.state, failed.passing) == (GenerationState.FAILED, False)
    following = hours.asked()
    assert following is not None
    assert following.recipe != failed.recipe
