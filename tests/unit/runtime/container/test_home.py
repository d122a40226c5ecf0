"""A home's tasks as models: the variants of the container's tier, with what was measured of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimizer.artifact import make_artifact
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.errors import Unavailable
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from registry.store import update
from registry.stores.sqlite import SqliteStore
from runtime.container.home import BLOBS, CATALOGUE, Home
from runtime.errors import Unreadable


def tier(name: str) -> Tier:
    return Tier(name, TierKind.CONTAINER, 2.0, 1024, 1, StartMode.ALWAYS, Price(0.0))


def variant(name: str, accuracy: float, artifact: str, **parameters: str) -> Variant:
    recipe = Recipe("none", parameters=tuple(parameters.items()))
    return Variant("digits", name, artifact, recipe, Accuracy(accuracy, accuracy, accuracy, 10, "wilson"), 2**20)


def profile(placement: Placement) -> Profile:
    def at(ms: float) -> Quantiles:
        return Quantiles((ms,) * len(LEVELS), ms)

    service = (ServiceTime(1, at(2.0), 2.0), ServiceTime(8, at(4.0), 4.0))
    return Profile(placement.id, service, at(50.0), ZERO, 3.0, "cpu", "none", 10, "2026-01-01T00:00:00Z")


@pytest.fixture
def home(tmp_path: Path, graphs: Any) -> Path:
    """A task of four variants: two measured here, one for another CPU, one on another tier."""
    artifact = make_artifact(graphs.scaled(2.0), Files(tmp_path / BLOBS))
    task = Task("digits", (TensorSpec("x", "FP32", (-1, 4), finite=True),), (TensorSpec("y", "FP32", (-1, 4)),), "top1")
    variants = [
        variant("good", 0.9, artifact),
        variant("best", 0.95, artifact),
        variant("alien", 0.99, artifact, level="vax"),
        variant("away", 0.97, artifact),
    ]
    placements = [
        Placement("digits/good", "here", threads=1, max_batch=16),
        Placement("digits/good", "here", threads=2, max_batch=32, prepack=False),
        Placement("digits/best", "here", threads=1, max_batch=8),
        Placement("digits/alien", "here"),
        Placement("digits/away", "there"),
    ]
    catalogue = (
        Catalogue.empty()
        .with_tasks(task, Task("empty", task.inputs, task.outputs, "top1"))
        .with_tiers(tier("here"), tier("there"))
        .with_variants(*variants)
        .with_placements(*placements)
        .with_profiles(*map(profile, placements[:2]))
    )
    store = SqliteStore(tmp_path / CATALOGUE)
    update(store, lambda base: catalogue.at(base.version))
    store.close()
    return tmp_path


def test_the_versions_are_the_variants_of_the_tier_that_this_cpu_can_run(home: Path) -> None:
    opened = Home(home, "here")
    assert opened.names() == ["digits"]
    assert [version.name for version in opened.versions("digits")] == ["best", "good"]
    assert opened.versions("nope") == []
    opened.close()


def test_what_was_measured_comes_along(home: Path) -> None:
    opened = Home(home, "here")
    best, good = opened.versions("digits")
    assert (best.accuracy, best.max_batch, dict(best.service), best.floor_mb) == (0.95, 8, {}, 1.0)
    assert (good.accuracy, good.max_batch, good.load_s, good.floor_mb) == (0.9, 32, 0.05, 0.0)
    assert good.service == dict.fromkeys((1, 2), ((1, 0.002, 0.002), (8, 0.004, 0.004)))
    assert good.signature is not None
    assert good.signature.inputs[0].finite
    opened.close()


def test_a_tier_that_nothing_was_placed_on_serves_what_there_is(home: Path) -> None:
    opened = Home(home, "nowhere")
    assert [version.name for version in opened.versions("digits")] == ["away", "best", "good"]
    opened.close()


def test_a_variant_is_opened_from_its_checked_bytes(home: Path) -> None:
    opened = Home(home, "here")
    session = opened.versions("digits")[0].open(1)
    assert session.inputs == {"x": ("FP32", (-1, 4))}
    opened.close()


def test_what_was_compiled_for_another_cpu_does_not_fit_under_any_name(home: Path, graphs: Any) -> None:
    opened = Home(home, "here")
    shared, alien = (make_artifact(graphs.scaled(factor), Files(home / BLOBS)) for factor in (2.0, 3.0))
    assert [opened.fits(digest) for digest in (shared, alien)] == [True, True]
    store = SqliteStore(home / CATALOGUE)
    update(store, lambda base: base.with_variants(variant("odd", 0.5, alien, level="vax")))
    store.close()
    assert [opened.fits(digest) for digest in (shared, alien)] == [True, False]
    opened.close()


@pytest.mark.parametrize("known", [False, True], ids=["at first", "later"])
def test_a_catalogue_that_cannot_be_read_is_storage_that_fails(
    home: Path, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> Any:
        raise Unavailable("catalogue.db", "it is locked")

    opened = Home(home, "here")
    if known:
        opened.names()
    monkeypatch.setattr(SqliteStore, "head", locked)
    monkeypatch.setattr(SqliteStore, "load", locked)
    for ask in (opened.head, opened.names, lambda: opened.versions("digits"), lambda: opened.fits("blake3:0")):
        with pytest.raises(Unreadable, match=r"catalogue cannot be read now: .* it is locked"):
            ask()
    opened.close()


def test_a_newer_release_is_seen(home: Path) -> None:
    opened = Home(home, "here")
    head = opened.head()
    assert opened.names() == ["digits"]
    store = SqliteStore(home / CATALOGUE)
    update(store, lambda base: base.with_placements(Placement("digits/away", "here")))
    store.close()

    assert opened.head() != head
    assert [version.name for version in opened.versions("digits")] == ["away", "best", "good"]
    opened.close()
