"""What a caller may leave out or say in several ways: tiers, generators, an SLO; makes values of it, no more."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.hardware import tiers_here
from optimizer.generate.table import GENERATORS
from registry.errors import InvalidValue
from registry.model import Slo, Tier
from registry.prices import gpu_tier, local_tiers
from registry.sections import nearest

Tiers = str | Sequence[str | Tier] | None
"""Tiers, or names of local ones, or one name; None: all that this machine can serve."""

Generate = bool | str | Sequence[str]
"""Whether every generator is to propose variants, or the names of those that are, or one name."""

Hints = Slo | Mapping[str, Any] | None
"""An SLO, or its bounds by name."""


def tiers_named(tiers: Tiers) -> tuple[Tier, ...]:
    """The tiers; raises InvalidValue for a name that no local tier has, and for none or one twice."""
    if tiers is None:
        return tiers_here(os.environ)
    known = {tier.name: tier for tier in (*local_tiers(), gpu_tier())}
    tiers = (tiers,) if isinstance(tiers, str) else tiers
    for tier in tiers:
        if isinstance(tier, str) and tier not in known:
            raise InvalidValue("tier", f"{tier!r} is no local tier", nearest(tier, known))
    chosen = tuple(known[tier] if isinstance(tier, str) else tier for tier in tiers)
    if not chosen or len({tier.name for tier in chosen}) != len(chosen):
        raise InvalidValue("tiers", "are none, or one of them twice", f"give some of {', '.join(known)}")
    return chosen


def generators_named(generate: Generate) -> tuple[str, ...]:
    """The generators' names; raises InvalidValue for one that there is not."""
    generate = (generate,) if isinstance(generate, str) else generate
    names = tuple(GENERATORS) if generate is True else tuple(generate or ())
    for name in names:
        if name not in GENERATORS:
            raise InvalidValue("generate", f"{name!r} is no generator", nearest(name, GENERATORS))
    return tuple(dict.fromkeys(names))


def slo_of(slo: Hints) -> Slo:
    """The SLO; raises InvalidValue for an unknown bound or one out of range."""
    return slo if isinstance(slo, Slo) else Slo().with_hints(slo or {})
