"""Which variant that does not exist yet would hold an SLO that nothing holds; plans only, and makes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from optimizer.errors import GenerationFailed
from optimizer.generate.generated import Expectation, Generator, Parameters, Parent
from optimizer.proposals import Generators, variant_name
from registry.catalogue import Catalogue
from registry.generations import Asked
from registry.model import LEVELS, Objective, Profile, Recipe, ServiceTime, Slo
from registry.prices import invocation_cost

T = TypeVar("T")

log = logging.getLogger(__name__)

MARGINS = (0.6, 0.8)
"""The share of a latency bound that an expectation may take; the second only where nothing is within the first. An
expectation is hopeful: forests of 20 to 50 % of the trees measured 1.2 times what was expected, and served a caller who
asks every few seconds, from cold caches, at up to 1.4 times what they measured. Two measurements of one placement on a
shared machine differ by a fifth by themselves."""


@dataclass(frozen=True, slots=True)
class Option:
    """A variant that a generator could make of a registered one."""

    name: str
    suffix: str
    recipe: Recipe
    expectation: Expectation

    @property
    def line(self) -> tuple[str, str]:
        """What it has in common with its likes: generator and parent."""
        return self.recipe.generator, self.recipe.parent or ""


@dataclass(frozen=True, slots=True)
class Wish:
    """A variant worth making, and what is expected of it where it would do best."""

    option: Option
    tier: str
    latency_ms: float
    accuracy: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class _Warm:
    """A measured placement that is warm, with nobody before the request."""

    variant: str
    tier: str
    latency_ms: float
    """At the SLO's percentile."""
    billed_ms: float
    accuracy: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class _Member:
    """What is known of one of a line: of the parent, or of what a generator made of it before."""

    factor: float
    """Its expected service time as a multiple of the parent's."""
    variant: str
    accuracy: float


def options(parents: Iterable[Parent], generators: Generators, *, alone: bool) -> tuple[Option, ...]:
    """Everything that the generators would make of these parents, in their proposals and in their finer grids.

    `alone`: whether the task has one registered model, which its variants are then not named after. Looks at graphs,
    and runs nothing; a generator that does not apply, or crashes, gives nothing.
    """
    return tuple(
        Option(
            variant_name(parent.name, suffix, alone=alone, taken={parent.name}),
            suffix,
            Recipe(name, parent.name, tuple(sorted(parameters.items()))),
            expectation,
        )
        for parent in parents
        for name, generator in generators.items()
        for suffix, parameters, expectation in _of(parent, generator)
    )


def wanted(asked: Asked, catalogue: Catalogue, possible: Sequence[Option]) -> Wish | None:
    """The best option, by the SLO's objective, of those expected to hold every bound; None when there is none.

    None, too, when a variant that exists holds them where it is warm: then it is not a variant that is missing. What
    the question says that decisions expect of a placement goes before its profile. What a
    generator made of a parent before corrects what is expected of it next (`_latency_ms`, `_accuracy`). Options that
    exist, or were tried, are left out. Raises NotFound for an unknown task.
    """
    catalogue.task(asked.task)
    measured, slo = list(_measured(asked, catalogue)), _left(asked)
    if any(_holds(slo, warm.latency_ms, warm.accuracy, warm.cost_usd) for warm in measured):
        return None
    lines = {option.line: _members(option.line, catalogue, asked.task, possible) for option in possible}
    wishes = [
        wish
        for option in possible
        if not _known(option, catalogue, asked.task)
        for wish in _wishes(option, lines[option.line], measured, catalogue)
    ]
    for margin in MARGINS:
        held = [w for w in wishes if _holds(slo, w.latency_ms / margin, w.accuracy, w.cost_usd)]
        if held:
            return min(held, key=partial(_rank, asked.slo.objective))
    return None


def _left(asked: Asked) -> Slo:
    """The SLO after what passes before a decision."""
    slo = asked.slo
    return slo if slo.latency_ms is None else replace(slo, latency_ms=max(slo.latency_ms - asked.before_ms, 1e-6))


def _of(parent: Parent, generator: Generator) -> list[tuple[str, Parameters, Expectation]]:
    grid: dict[str, Parameters] = {}
    for propose in (generator.propose, generator.refine):
        grid |= dict(_attempted(partial(propose, parent)) or ()) if propose else {}
    expected = (
        (suffix, parameters, _attempted(partial(generator.expect, parent, parameters)))
        for suffix, parameters in grid.items()
    )
    return [(suffix, parameters, expectation) for suffix, parameters, expectation in expected if expectation]


def _attempted(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except GenerationFailed:
        return None
    except Exception:  # a generator that crashes must not stop the rest
        log.exception("a generator crashed")
        return None


def _known(option: Option, catalogue: Catalogue, task: str) -> bool:
    """Whether it is there, or came to nothing; by name, or as the same recipe under another."""
    if f"{task}/{option.name}" in catalogue.variants or f"{task}/{option.name}" in catalogue.tried:
        return True
    recipes = [variant.recipe for variant in catalogue.variants_of(task)]
    recipes += [tried.recipe for tried in catalogue.tried_of(task)]
    return any(_same(option.recipe, recipe) for recipe in recipes)


def _same(option: Recipe, made: Recipe) -> bool:
    """Whether a recipe says no less than an option: recipes of what was made record defaults and counts besides."""
    if (option.generator, option.parent) != (made.generator, made.parent) or not option.parameters:
        return False
    return set(option.parameters) <= set(made.parameters)


def _members(line: tuple[str, str], catalogue: Catalogue, task: str, possible: Sequence[Option]) -> list[_Member]:
    """What is known of a line, its parent included, by ascending factor; nothing when the parent is no variant."""
    parent = catalogue.variants.get(f"{task}/{line[1]}")
    if parent is None:
        return []
    members = [_Member(1.0, parent.id, parent.accuracy.value)]
    for option in possible:
        accuracy = _known_accuracy(catalogue, f"{task}/{option.name}") if option.line == line else None
        if accuracy is not None:
            members.append(_Member(option.expectation.latency, f"{task}/{option.name}", accuracy))
    return sorted(members, key=lambda member: member.factor)


def _known_accuracy(catalogue: Catalogue, id_: str) -> float | None:
    if id_ in catalogue.variants:
        return catalogue.variants[id_].accuracy.value
    return dict(catalogue.tried[id_].numbers).get("accuracy") if id_ in catalogue.tried else None


def _wishes(
    option: Option, members: Sequence[_Member], measured: Sequence[_Warm], catalogue: Catalogue
) -> Iterator[Wish]:
    """The option on each tier where its parent was measured."""
    factor, kinds = option.expectation.latency, option.expectation.kinds
    parents = [warm for warm in measured if members and warm.variant.partition("/")[2] == option.line[1]]
    for parent in parents:
        tier = catalogue.tiers[parent.tier]
        if kinds is not None and tier.kind not in kinds:
            continue
        latency_ms = _latency_ms(factor, _times(members, [warm for warm in measured if warm.tier == tier.name]))
        billed_ms = parent.billed_ms * latency_ms / max(parent.latency_ms, 1e-9)
        accuracy = _accuracy(option.expectation, members)
        yield Wish(option, tier.name, latency_ms, accuracy, invocation_cost(tier.price, billed_ms))


def _times(members: Sequence[_Member], measured: Sequence[_Warm]) -> list[tuple[float, float]]:
    """Factors, ascending, and latencies of those members that were measured on one tier."""
    best: Mapping[str, float] = {
        warm.variant: warm.latency_ms for warm in sorted(measured, key=lambda w: w.latency_ms, reverse=True)
    }
    return [(member.factor, best[member.variant]) for member in members if member.variant in best]


def _latency_ms(factor: float, times: Sequence[tuple[float, float]]) -> float:
    """On the straight line between two measured members, or on from the two least; from one alone, in proportion.

    Never less than in proportion to the least, for then a run would have less than no overhead.
    """
    factors, latencies = zip(*times, strict=True)
    if factor >= factors[0]:
        return float(np.interp(factor, factors, latencies))
    proportional = latencies[0] * factor / factors[0]
    if len(times) == 1:
        return float(proportional)
    slope = (latencies[1] - latencies[0]) / max(factors[1] - factors[0], 1e-9)
    return float(max(proportional, latencies[0] - slope * (factors[0] - factor)))


def _accuracy(expectation: Expectation, members: Sequence[_Member]) -> float:
    """At best that of the nearest member that is no smaller: what keeps less of the parent is not expected to gain."""
    larger = [member.accuracy for member in members if member.factor >= expectation.latency]
    return min(1.0, (larger[0] if larger else members[-1].accuracy) + expectation.accuracy)


def _rank(objective: Objective, wish: Wish) -> tuple[float, ...]:
    """Least is best; of what is expected to be alike, what keeps most of its parent is likely to keep its accuracy."""
    kept = -wish.option.expectation.latency
    if objective is Objective.LATENCY:
        return wish.latency_ms, -wish.accuracy, kept
    if objective is Objective.COST:
        return wish.cost_usd, -wish.accuracy, kept
    return -wish.accuracy, kept, wish.cost_usd


def _holds(slo: Slo, latency_ms: float, accuracy: float, cost_usd: float) -> bool:
    return (
        (slo.latency_ms is None or latency_ms <= slo.latency_ms)
        and (slo.min_accuracy is None or accuracy >= slo.min_accuracy)
        and (slo.max_cost_usd is None or cost_usd <= slo.max_cost_usd)
    )


def _measured(asked: Asked, catalogue: Catalogue) -> Iterator[_Warm]:
    """Every measured placement of the task that takes a batch of this size."""
    level, expected_ms = asked.slo.percentile / 100, dict(asked.expected_ms)
    for placement in catalogue.placements_of(asked.task):
        profile = catalogue.profiles.get(placement.id)
        if profile is None or asked.rows > placement.max_batch:
            continue
        billed_ms = _at(profile, asked.rows, lambda service: service.billed_ms)
        latency_ms = _at(profile, asked.rows, lambda service: float(np.interp(level, LEVELS, service.latency.ms)))
        yield _Warm(
            placement.variant,
            placement.tier,
            expected_ms.get(placement.id, latency_ms),
            billed_ms,
            catalogue.variants[placement.variant].accuracy.value,
            invocation_cost(catalogue.tiers[placement.tier].price, billed_ms),
        )


def _at(profile: Profile, rows: int, value: Callable[[ServiceTime], float]) -> float:
    """A measured value at a batch size, on straight lines between the sizes that were measured."""
    return float(np.interp(rows, [s.rows for s in profile.service], [value(s) for s in profile.service]))
