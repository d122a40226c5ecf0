"""The policies that a scenario compares, each with its settings; it knows none of them but by the table of policies."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.catalogue import Catalogue
from registry.sections import Section, nearest
from simulator.policies import POLICIES
from simulator.policies.capacity import Budget, Prewarming
from simulator.policy import Policy

USUAL = ("modelless", "static_best", "static_cheapest", "infaas")
"""What is compared where nothing is said, as far as the catalogue's tiers allow: ours, both ends of never deciding, and
the published platform that is most like it."""

NUMBERS: Mapping[str, type[int] | type[float]] = {"int": int, "float": float}
"""Annotations of the factories' parameters that a scenario may set."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy's name and what differs from its defaults."""

    name: str
    settings: tuple[tuple[str, float], ...] = ()

    @property
    def label(self) -> str:
        """What tables call it."""
        return " ".join((self.name, *(f"{key}={value:g}" for key, value in self.settings)))

    def policy(self, catalogue: Catalogue, budget: Budget | None) -> Policy:
        """One that has decided nothing yet; with a budget, ours keeps warm what it is worth.

        Raises ValueError where it cannot decide for such a catalogue.
        """
        settings: dict[str, Any] = dict(self.settings)
        if self.name == Prewarming.name and budget is not None:
            return Prewarming(catalogue, budget, **settings)
        return POLICIES[self.name](catalogue, **settings)


def read_contenders(root: Section, catalogue: Catalogue) -> tuple[Contender, ...]:
    """The list `policies`: names, or a name with its settings as a mapping."""
    found: list[Contender] = []
    for where, data in root.items("policies"):
        contender = _read(root, where, data)
        if contender is None:
            continue
        if contender in found:
            root.source.fault(where, f"{contender.label!r} is listed already; list it once")
        elif problem := why_not(contender, catalogue):
            root.source.fault(where, f"{contender.name} cannot play here: {problem}")
        found.append(contender)
    if root.take("policies") == []:
        root.fault("policies", "is empty; list at least one, or leave it out")
    return tuple(found) or usual(catalogue)


def usual(catalogue: Catalogue) -> tuple[Contender, ...]:
    """Those of USUAL that can decide for a catalogue."""
    return tuple(each for each in map(Contender, USUAL) if why_not(each, catalogue) is None)


def why_not(contender: Contender, catalogue: Catalogue) -> str | None:
    """What keeps a policy from deciding for a catalogue; None: nothing does."""
    try:
        contender.policy(catalogue, None)
    except ValueError as fault:
        return str(fault)
    return None


def _read(root: Section, where: tuple[str | int, ...], data: Any) -> Contender | None:
    name = next(iter(data)) if isinstance(data, dict) and len(data) == 1 else data
    if not isinstance(name, str) or name not in POLICIES:
        problem = f"is no policy; {nearest(name, POLICIES)}" if isinstance(name, str) else "is wrong; give one policy"
        root.source.fault(where, f"{name!r:.60} {problem}")
        return None
    if isinstance(data, str):
        return Contender(name)
    section = Section(root.source, (*where, name), data[name])
    settings = _settable(name)
    given = {
        key: section.whole(key) if kind is int else section.number(key)
        for key, kind in settings.items()
        if key in section
    }
    for key in section.names():
        if key not in settings:
            section.take(key)
            hint = nearest(key, settings) if settings else "it has none"
            section.fault(key, f"is no setting of {name}; {hint}")
    return section.build(lambda: Contender(name, tuple(given.items())))


def _settable(name: str) -> dict[str, type[int] | type[float]]:
    parameters = inspect.signature(POLICIES[name]).parameters.values()
    return {p.name: NUMBERS[p.annotation] for p in parameters if p.annotation in NUMBERS}
