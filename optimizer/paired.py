"""What a variant would have measured beside a published one when that was measured; pure arithmetic.

A variant that is added later is measured on a machine that is busy serving, its parent's profile was taken on one that
was not: compared as measured, the new one looks slower than it is. So the parent is measured again in the same session,
run by run between the new one's, and what slows both cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from registry.model import LEVELS, Profile, Quantiles, ServiceTime

Floats = NDArray[np.float64]

UNDISTURBED = LEVELS.index(0.25)
"""The level that two placements are compared at: a machine that others use delays some runs by a time slice, however
short they are, and the quarter that is least delayed tells most of the work itself."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The parent of a new placement, on the same tier: as published, and as measured between the new one's runs."""

    published: Profile
    now: Profile


def as_published(new: Profile, parent: Pair) -> Profile:
    """The profile with times as they would have been when the parent's was taken.

    At each batch size, with every profile's UNDISTURBED quantile q: the new one's times x published q / now q of the
    parent, but at each level no more than the parent's published time x new q / parent's q now. The first puts the new
    one on the published scale; the second gives it no wider a tail, in proportion, than its parent has undisturbed.
    Billed times and loads follow; what a start adds is the tier's, whichever the variant, and stays the parent's. A
    parent of other hardware, or another CPU share, says nothing, and leaves the profile as it was.
    """
    published = parent.published
    if (published.fingerprint, published.cpu_share) != (new.fingerprint, new.cpu_share):
        return new
    service = tuple(_service(each, parent) for each in new.service)
    pace = float(np.median([_pace(each.rows, parent) for each in new.service]))
    load = Quantiles(tuple(ms * pace for ms in new.load.ms), new.load.mean * pace)
    return replace(new, service=service, load=load, init=published.init)


def _service(new: ServiceTime, parent: Pair) -> ServiceTime:
    times = np.array([*new.latency.ms, new.latency.mean])
    published, now = _times(parent.published.service, new.rows), _times(parent.now.service, new.rows)
    pace = _pace(new.rows, parent)
    scaled = times * pace
    if now[UNDISTURBED] > 0:
        scaled = np.minimum(scaled, published * (times[UNDISTURBED] / now[UNDISTURBED]))
    *levels, mean = scaled.tolist()
    billed_ms = new.billed_ms * (mean / new.latency.mean if new.latency.mean > 0 else 1.0)
    return ServiceTime(new.rows, Quantiles(tuple(levels), mean), billed_ms)


def _pace(rows: int, parent: Pair) -> float:
    """Published over measured time of the parent, undisturbed."""
    now = float(_times(parent.now.service, rows)[UNDISTURBED])
    return float(_times(parent.published.service, rows)[UNDISTURBED]) / now if now > 0 else 1.0


def _times(service: Sequence[ServiceTime], rows: int) -> Floats:
    """Times at each of LEVELS and their mean, on straight lines between the measured sizes."""
    sizes = [each.rows for each in service]
    columns = zip(*([*each.latency.ms, each.latency.mean] for each in service), strict=True)
    return np.array([np.interp(rows, sizes, column) for column in columns])
