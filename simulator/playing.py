"""Plays one contender over one seed of a scenario, as figures; it compares nothing and shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from registry.catalogue import Catalogue
from registry.model import OnInfeasible
from simulator.bill import Dollars
from simulator.contenders import Contender
from simulator.hardware import Hardware
from simulator.outcome import Outcome
from simulator.policies.cocktail import Cocktail
from simulator.policies.platform import platform
from simulator.policies.tracking import Baseline
from simulator.policy import Policy
from simulator.scenario import Scenario
from simulator.simulation import Stream, simulate
from simulator.timed import Timed
from simulator.timeline import Timeline, timeline


@dataclass(frozen=True, slots=True)
class Played:
    """What a policy made of one seed."""

    policy: str
    """The contender's label."""
    seed: int
    figures: Mapping[str, float]
    """`Outcome.summary`, and `decision_us`: the mean time that an answer to an arrival took."""
    dollars: Dollars
    by_tier: Mapping[str, float]
    """US dollars."""
    timeline: Timeline


def play(
    scenario: Scenario,
    contender: Contender,
    seed: int,
    *,
    clock: Callable[[], float],
    progress: Callable[[float], None] | None = None,
) -> Played:
    """Simulate it; `clock` tells real seconds, and `progress` is told the share of requests that have come.

    Raises ValueError and OSError for a trace that cannot be read any more, and what the policy raises.
    """
    outcome, decision_us = carried(
        contender.policy(scenario.catalogue, scenario.capacity),
        scenario.catalogue,
        scenario.streams(seed),
        seconds=scenario.seconds,
        seed=seed,
        hardware=scenario.hardware,
        clock=clock,
        progress=progress,
    )
    return Played(
        policy=contender.label,
        seed=seed,
        figures={**outcome.summary(), "decision_us": decision_us},
        dollars=outcome.dollars,
        by_tier={tier: dollars.total for tier, dollars in outcome.by_tier.items()},
        timeline=timeline(outcome, scenario.seconds),
    )


def carried(
    policy: Policy,
    catalogue: Catalogue,
    streams: tuple[Stream, ...],
    *,
    seconds: float,
    seed: int,
    hardware: Hardware,
    clock: Callable[[], float],
    progress: Callable[[float], None] | None = None,
) -> tuple[Outcome, float]:
    """What came of a policy on its terms, and the mean microseconds that it took to answer an arrival.

    Its terms are the platform that it begins with, the bounds that it is asked for, and how its votes are judged.
    """
    timed = Timed(policy, clock)
    outcome = simulate(
        catalogue,
        _asked(policy, streams),
        timed,
        seconds=seconds,
        seed=seed,
        hardware=platform(policy, hardware),
        progress=progress,
    )
    judged = policy.judged(outcome) if isinstance(policy, Cocktail) else outcome
    return judged, timed.seconds / max(1, timed.arrivals) * 1e6


def _asked(policy: Policy, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
    """The same requests; a strict bound would let containers choose variants in the stead of a published policy."""
    if not isinstance(policy, Baseline):
        return streams
    return tuple(replace(s, slo=replace(s.slo, on_infeasible=OnInfeasible.BEST_EFFORT)) for s in streams)
