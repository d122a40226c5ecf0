"""What is planned when callers ask for what nothing holds: the best of what could be made, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from optimizer.errors import GenerationFailed
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.ondemand import Option, options, wanted
from registry.catalogue import Catalogue
from registry.errors import NotFound
from registry.generations import Asked
from registry.lineage import Outcome, Tried
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Objective,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    Task,
    TensorSpec,
    TierKind,
    Variant,
)
from registry.prices import local_tiers

INLINE = local_tiers()[0]
TASK = Task("t", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy")


def variant(name: str, accuracy: float, recipe: Recipe | None = None) -> Variant:
    return Variant("t", name, f"blake3:{name}", recipe or Recipe("onnx"), Accuracy(accuracy, 0.0, 1.0, 100, "wilson"))


def catalogue(*made: tuple[Variant, float]) -> Catalogue:
    """Variants, each with its milliseconds for one row on the inline tier; ten rows take five times as long."""
    base = Catalogue.empty().with_tasks(TASK).with_tiers(INLINE)
    for each, ms in made:
        placement = Placement(each.id, INLINE.name, max_batch=10)
        services = tuple(
            ServiceTime(rows, Quantiles((times * ms,) * len(LEVELS), times * ms), times * ms)
            for rows, times in ((1, 1), (10, 5))
        )
        profile = Profile(placement.id, services, ZERO, ZERO, 1.0, "test", "none", 1, "now")
        base = base.with_variants(each).with_placements(placement).with_profiles(profile)
    return base


def option(percent: int, generator: str = "trees", parent: str = "forest", **expected: object) -> Option:
    return Option(
        f"{generator}-{percent}",
        f"{generator}-{percent}",
        Recipe(generator, parent, (("percent", str(percent)),)),
        replace(Expectation(latency=percent / 100), **expected),
    )


GRID = tuple(option(percent) for percent in range(1, 100))
FOREST = variant("forest", 0.9)


def asked(latency_ms: float | None = None, rows: int = 1, **bounds: object) -> Asked:
    return Asked("t", replace(Slo(latency_ms=latency_ms), **bounds), rows)


def test_the_most_accurate_that_is_fast_enough_keeps_most_of_its_parent() -> None:
    wish = wanted(asked(50.0), catalogue((FOREST, 100.0)), GRID)
    assert wish is not None
    assert wish.option.name == "trees-30"  # 30 ms are 60 % of what is asked
    assert (wish.tier, wish.accuracy) == ("inline", 0.9)
    assert wish.latency_ms == pytest.approx(30.0)
    assert wish.cost_usd > 0


def test_nothing_is_wanted_where_something_holds_or_nothing_can() -> None:
    facts = catalogue((FOREST, 100.0))
    assert wanted(asked(100.0), facts, GRID) is None
    assert wanted(asked(0.5), facts, GRID) is None
    assert wanted(asked(50.0, min_accuracy=0.95), facts, GRID) is None
    assert wanted(asked(50.0), facts, ()) is None
    assert wanted(asked(50.0), catalogue(), GRID) is None
    with pytest.raises(NotFound):
        wanted(Asked("other", Slo()), facts, GRID)


def test_batches_are_foreseen_between_the_measured_sizes() -> None:
    wish = wanted(asked(50.0, rows=10), catalogue((FOREST, 100.0)), GRID)
    assert wish is not None
    assert wish.option.name == "trees-6"
    assert wanted(asked(50.0, rows=11), catalogue((FOREST, 100.0)), GRID) is None


def test_the_cost_bound_binds_too() -> None:
    facts = catalogue((FOREST, 100.0))
    whole = wanted(asked(80.0), facts, GRID)
    assert whole is not None
    cheap = wanted(asked(max_cost_usd=whole.cost_usd / 2), facts, GRID)
    assert cheap is not None
    assert cheap.option.expectation.latency == pytest.approx(whole.option.expectation.latency / 2, rel=0.1)


@pytest.mark.parametrize(("objective", "name"), [(Objective.LATENCY, "trees-1"), (Objective.COST, "trees-1")])
def test_other_objectives_take_the_least(objective: Objective, name: str) -> None:
    wish = wanted(asked(50.0, objective=objective), catalogue((FOREST, 100.0)), GRID)
    assert wish is not None
    assert wish.option.name == name


def test_what_was_measured_corrects_what_is_expected() -> None:
    """Half of the trees took 60 ms and lost some accuracy: there are 20 ms of overhead."""
    half = variant("trees-50", 0.8, Recipe("trees", "forest", (("percent", "50"), ("trees", "5"))))
    facts = catalogue((FOREST, 100.0), (half, 60.0))
    wish = wanted(asked(50.0), facts, GRID)
    assert wish is not None
    assert wish.option.name == "trees-12"
    assert wish.latency_ms == pytest.approx(29.6)
    assert wish.accuracy == 0.8
    assert wanted(asked(50.0, min_accuracy=0.85), facts, GRID) is None
    between = wanted(asked(100.0, min_accuracy=0.85), catalogue((FOREST, 200.0), (half, 120.0)), GRID)
    assert between is None  # the faster half is not accurate enough, and what is above it not fast enough


def test_what_was_tried_is_not_tried_again_and_teaches_accuracy() -> None:
    recipe = Recipe("trees", "forest", (("percent", "30"), ("trees", "3")))
    tried = Tried("t", "under-another-name", recipe, Outcome.DROPPED, "slower", (("accuracy", 0.5),))
    facts = catalogue((FOREST, 100.0))
    wish = wanted(asked(50.0), facts.with_tried(tried), GRID)
    assert wish is not None
    assert wish.option.name == "trees-29"
    named = Tried("t", "trees-30", Recipe("trees", "forest"), Outcome.FAILED, "why", (("accuracy", 0.5),))
    wish = wanted(asked(50.0), facts.with_tried(named), GRID)
    assert wish is not None
    assert (wish.option.name, wish.accuracy) == ("trees-29", 0.5)


def test_an_option_for_other_tiers_is_none() -> None:
    gpu = option(50, "fp16", kinds=frozenset({TierKind.GPU}))
    assert wanted(asked(80.0), catalogue((FOREST, 100.0)), (gpu,)) is None


def test_an_option_of_a_parent_that_is_no_variant_is_none() -> None:
    assert wanted(asked(50.0), catalogue((FOREST, 100.0)), (option(10, parent="gone"),)) is None


def generator(
    proposed: Sequence[int], refined: Sequence[int] | None, *, broken: type[Exception] | None = None
) -> Generator:
    def propose(parent: Parent) -> list[tuple[str, Parameters]]:
        if broken:
            raise broken("made", "to break") if broken is GenerationFailed else broken("to break")
        return [(f"cut-{n}", {"n": str(n)}) for n in proposed]

    def generate(parent: Parent, parameters: Parameters) -> Generated:
        raise AssertionError("planning generates nothing")

    def refine(parent: Parent) -> list[tuple[str, Parameters]]:
        return [(f"cut-{n}", {"n": str(n)}) for n in refined or ()]

    return Generator(generate, propose, lambda _, p: Expectation(int(p["n"]) / 10), None if refined is None else refine)


def test_options_are_proposals_and_their_refinements_once() -> None:
    parents = [Parent("a", b"", TASK), Parent("b", b"", TASK)]
    found = options(parents, {"cut": generator([5], [5, 4])}, alone=False)
    assert [o.name for o in found] == ["a-cut-5", "a-cut-4", "b-cut-5", "b-cut-4"]
    assert found[1].recipe == Recipe("cut", "a", (("n", "4"),))
    assert found[1].expectation == Expectation(0.4)
    assert [o.name for o in options(parents[:1], {"cut": generator([5], None)}, alone=True)] == ["cut-5"]


@pytest.mark.parametrize("broken", [GenerationFailed, ZeroDivisionError])
def test_a_generator_that_does_not_apply_or_crashes_gives_nothing(broken: type[Exception]) -> None:
    generators = {"bad": generator([1], None, broken=broken), "good": generator([2], None)}
    assert [o.name for o in options([Parent("a", b"", TASK)], generators, alone=True)] == ["cut-2"]


def test_what_decisions_expect_goes_before_the_profile() -> None:
    """Served half as fast as profiled, the forest no longer holds what it was measured to hold."""
    facts = catalogue((FOREST, 100.0))
    (placement,) = facts.placements
    live = replace(asked(150.0), expected_ms=((placement, 200.0),))
    assert wanted(asked(150.0), facts, GRID) is None
    wish = wanted(live, facts, GRID)
    assert wish is not None
    assert wish.option.name == "trees-45"  # 90 ms are 60 % of what is asked
    assert wanted(replace(live, expected_ms=((placement, 140.0),)), facts, GRID) is None


def test_what_passes_before_a_decision_is_not_left() -> None:
    wish = wanted(replace(asked(60.0), before_ms=10.0), catalogue((FOREST, 100.0)), GRID)
    assert wish is not None
    assert wish.option.name == "trees-30"
    assert wanted(replace(asked(60.0), before_ms=70.0), catalogue((FOREST, 100.0)), GRID) is None


def test_what_is_only_just_expected_to_hold_is_made_where_nothing_else_is() -> None:
    facts = catalogue((FOREST, 100.0))
    wish = wanted(asked(100.0 - 1.0), facts, (option(75), option(79)))
    assert wish is not None
    assert wish.option.name == "trees-79"
    assert wanted(asked(100.0 - 1.0), facts, (option(80),)) is None
