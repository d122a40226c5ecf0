"""The snapshot: immutable, indexed, whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from registry.catalogue import Catalogue
from registry.errors import InvalidValue, NotFound
from registry.lineage import Outcome, Sources, Tried
from registry.model import Placement, Profile, Recipe, Task, Tier, Variant


def test_the_empty_catalogue_has_nothing_at_version_0() -> None:
    empty = Catalogue.empty()
    assert empty.version == 0
    assert empty.placements_of("digits") == empty.variants_of("digits") == ()
    assert [dict(f) for f in (empty.tasks, empty.variants, empty.tiers, empty.placements, empty.profiles)] == [{}] * 5


def test_placements_and_variants_of_a_task_are_sorted_by_id(catalogue: Catalogue) -> None:
    assert [p.id for p in catalogue.placements_of("digits")] == [
        "digits/forest@inline:1",
        "digits/forest@process-1769:1",
        "digits/linear@inline:1",
        "digits/linear@process-1769:1",
    ]
    assert [v.id for v in catalogue.variants_of("digits")] == ["digits/forest", "digits/linear"]
    assert catalogue.placements_of("empty") == catalogue.variants_of("nobody") == ()


def test_an_unknown_task_is_not_found(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound, match="no task 'nobody'"):
        catalogue.task("nobody")
    assert catalogue.task("digits").name == "digits"


def test_an_edit_leaves_the_old_snapshot_as_it_is(catalogue: Catalogue, make_task: Callable[..., Task]) -> None:
    before = catalogue.to_document()
    edited = catalogue.with_tasks(make_task("more")).without_task("digits")
    assert catalogue.to_document() == before
    assert set(edited.tasks) == {"empty", "more"}
    assert edited.version == catalogue.version


@pytest.mark.parametrize("name", ["tasks", "variants", "tiers", "placements", "profiles"])
def test_nothing_can_be_changed_in_place(catalogue: Catalogue, name: str) -> None:
    facts: Any = getattr(catalogue, name)
    with pytest.raises(TypeError):
        facts["x"] = None
    with pytest.raises(FrozenInstanceError):
        setattr(catalogue, name, {})


def test_what_is_referred_to_must_exist(
    catalogue: Catalogue, make_variant: Callable[..., Variant], make_profile: Callable[[Placement], Profile]
) -> None:
    with pytest.raises(NotFound, match="no task 'nobody'"):
        catalogue.with_variants(make_variant(task="nobody"))
    with pytest.raises(NotFound, match="no variant 'digits/none'"):
        catalogue.with_placements(Placement("digits/none", "inline"))
    with pytest.raises(NotFound, match="no tier 'moon'"):
        catalogue.with_placements(Placement("digits/linear", "moon"))
    with pytest.raises(NotFound, match="no placement 'digits/linear@inline:2'"):
        catalogue.with_profiles(make_profile(Placement("digits/linear", "inline", threads=2)))


def test_removing_a_task_removes_all_that_was_made_for_it(catalogue: Catalogue) -> None:
    left = catalogue.without_task("digits")
    assert set(left.tasks) == {"empty"}
    assert [dict(f) for f in (left.variants, left.placements, left.profiles)] == [{}] * 3
    assert left.tiers == catalogue.tiers
    with pytest.raises(NotFound):
        left.without_task("digits")


def test_a_task_with_variants_keeps_its_meaning(catalogue: Catalogue, make_task: Callable[..., Task]) -> None:
    with pytest.raises(InvalidValue, match="remove the task first"):
        catalogue.with_tasks(make_task(metric="f1"))
    described = replace(catalogue.task("digits"), description="new words")
    assert catalogue.with_tasks(described).task("digits") == described
    assert catalogue.with_tasks(make_task("empty", metric="f1")).task("empty").metric == "f1"


def test_profiles_of_a_variant_fall_with_its_artifact(
    catalogue: Catalogue, make_variant: Callable[..., Variant]
) -> None:
    assert catalogue.with_variants(make_variant()).profiles == catalogue.profiles
    replaced = catalogue.with_variants(make_variant(artifact="c"))
    assert set(replaced.profiles) == {"digits/forest@process-1769:1"}
    assert replaced.placements == catalogue.placements


def test_profiles_on_a_tier_fall_with_its_machine(catalogue: Catalogue) -> None:
    tier = catalogue.tiers["process-1769"]
    assert catalogue.with_tiers(replace(tier, concurrency=9)).profiles == catalogue.profiles
    assert set(catalogue.with_tiers(replace(tier, vcpus=0.5)).profiles) == {"digits/linear@inline:1"}


def test_a_document_makes_an_equal_catalogue(catalogue: Catalogue) -> None:
    document = json.loads(json.dumps(catalogue.at(7).to_document(), allow_nan=False))
    again = Catalogue.from_document(document)
    assert again == catalogue.at(7)
    assert again.to_document() == document


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.update(format=99), "format: 99 is unknown"),
        (lambda d: d.update(version=-1), "version"),
        (lambda d: d.update(version="1"), "version"),
        (lambda d: d.pop("tiers"), "tiers"),
        (lambda d: d.update(tasks=3), "tasks"),
        (lambda d: d["tasks"][0].update(colour="red"), r"tasks\[0\]\.colour"),
        (lambda d: d["tasks"][0].pop("metric"), r"tasks\[0\].*metric"),
        (lambda d: d["tasks"][0]["inputs"][0].update(shape="wide"), r"tasks\[0\]\.inputs\[0\]\.shape"),
        (lambda d: d["variants"][1]["accuracy"].update(value=2.0), "accuracy"),
        (lambda d: d["placements"][0].update(tier="moon"), "tier 'moon'"),
        (lambda d: d["profiles"][0].update(placement="x"), "placement 'x'"),
        (lambda d: d["tiers"][0].update(kind="toaster"), r"tiers\[0\]\.kind"),
    ],
)
def test_a_spoilt_document_is_refused(
    catalogue: Catalogue, spoil: Callable[[dict[str, Any]], Any], message: str
) -> None:
    document = json.loads(json.dumps(catalogue.to_document()))
    spoil(document)
    with pytest.raises((InvalidValue, NotFound), match=message):
        Catalogue.from_document(document)


def test_derived_is_built_once_per_snapshot(catalogue: Catalogue, make_task: Callable[..., Task]) -> None:
    built: list[int] = []

    def count(snapshot: Catalogue) -> int:
        built.append(len(snapshot.tasks))
        return len(snapshot.tasks)

    assert [catalogue.derived(count, count) for _ in range(3)] == [2, 2, 2]
    assert catalogue.with_tasks(make_task("third")).derived(count, count) == 3
    assert built == [2, 3]


def test_a_derivation_may_use_another(catalogue: Catalogue) -> None:
    total = catalogue.derived("total", lambda c: c.derived("one", lambda _: 1) + len(c.placements_of("digits")))
    assert total == 5


def test_racing_threads_build_one_derivation(catalogue: Catalogue) -> None:
    barrier = threading.Barrier(8)
    built: list[object] = []
    seen: list[object] = []

    def build(_: Catalogue) -> object:
        built.append(object())
        return built[-1]

    def work() -> None:
        barrier.wait(timeout=10)
        seen.append(catalogue.derived("key", build))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(built) == 1
    assert seen == built * 8


def test_a_derivation_that_fails_is_tried_again(catalogue: Catalogue) -> None:
    def fail(_: Catalogue) -> int:
        raise InvalidValue("x", "fails", "mend it")

    with pytest.raises(InvalidValue):
        catalogue.derived("key", fail)
    assert catalogue.derived("key", lambda _: 1) == 1


def test_equality_is_by_facts_and_version(catalogue: Catalogue) -> None:
    assert catalogue == catalogue.with_tasks() != catalogue.at(3)
    tier: Tier = catalogue.tiers["inline"]
    assert catalogue.with_tiers(replace(tier, concurrency=7)) != catalogue


def test_what_was_tried_is_kept_by_task_until_it_is_taken_out(catalogue: Catalogue) -> None:
    first, second = (
        Tried("digits", name, Recipe("int8", "linear"), Outcome.DROPPED, "no better", (("p50_ms", 0.5),))
        for name in ("int8", "int8-static")
    )
    edited = catalogue.with_tried(second, first)
    assert edited.tried_of("digits") == (first, second)
    assert edited.tried_of("empty") == ()
    assert Catalogue.from_document(edited.to_document()) == edited
    assert edited.without_tried("digits/int8", "digits/nobody").tried_of("digits") == (second,)
    assert edited.without_task("digits").tried == {}
    with pytest.raises(NotFound):
        catalogue.with_tried(replace(first, task="nobody"))


def test_sources_go_with_their_task(catalogue: Catalogue) -> None:
    sources = Sources("digits", "blake3:" + "0" * 64, None, (("linear", "blake3:" + "1" * 64),))
    edited = catalogue.with_sources(sources)
    assert edited.sources["digits"].model("linear") == "blake3:" + "1" * 64
    assert edited.sources["digits"].model("forest") is None
    assert Catalogue.from_document(edited.to_document()) == edited
    assert edited.without_task("digits").sources == {}
