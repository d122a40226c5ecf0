"""Plays one contender over one seed of a scenario, as figures; it compares nothing and shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from registry.model import OnInfeasible
from simulator.bill import Dollars
from simulator.contenders import Contender
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
    policy = contender.policy(scenario.catalogue, scenario.capacity)
    timed = Timed(policy, clock)
    outcome = simulate(
        scenario.catalogue,
        _asked(policy, scenario.streams(seed)),
        timed,
        seconds=scenario.seconds,
        seed=seed,
        hardware=platform(policy, scenario.hardware),
        progress=progress,
    )
    if isinstance(policy, Cocktail):
        outcome = policy.judged(outcome)
    decision_us = timed.seconds / max(1, timed.arrivals) * 1e6
    return Played(
        policy=contender.label,
        seed=seed,
        figures={**outcome.summary(), "decision_us": decision_us},
        dollars=outcome.dollars,
        by_tier={tier: dollars.total for tier, dollars in outcome.by_tier.items()},
        timeline=timeline(outcome, scenario.seconds),
    )


def _asked(policy: Policy, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
    """The same requests; a strict bound would let containers choose variants in the stead of a published policy."""
    if not isinstance(policy, Baseline):
        return streams
    return tuple(replace(s, slo=replace(s.slo, on_infeasible=OnInfeasible.BEST_EFFORT)) for s in streams)
