"""What one function saw of environments that all use, told to the others: sightings from a fleet, and into backends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.backends.protocol import Backend, Shared
from registry.sightings import Sighting
from scheduler.environments import State
from scheduler.fleet import Fleet


def seen_since(fleet: Fleet, since: float, now: float, wall: float) -> tuple[Sighting, ...]:
    """The environments that answered since `since` (s); it is `now` on the fleet's clock, and `wall` on the wall's."""
    return tuple(
        Sighting(tier.name, name, environment.resident, wall - (now - environment.used_at))
        for tier, state in zip(fleet.layout.tiers, fleet.tiers, strict=True)
        for name, environment in state.environments.items()
        if environment.state is not State.STARTING and environment.used_at >= since
    )


def take_in(sightings: Iterable[Sighting], backends: Mapping[str, Backend], now: float, wall: float) -> None:
    """Have the backends know of what others saw, unless they know better."""
    for seen in sightings:
        backend: Backend | Shared | None = backends.get(seen.tier)
        if isinstance(backend, Shared):
            backend.sighted(seen.environment, seen.resident, now - (wall - seen.at))
