"""A call under a lease, where several processes share a few of what it needs; it never waits for one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import Throttled
from registry.errors import Unavailable
from registry.leases import Leases

log = logging.getLogger(__name__)

FULL_S = 1.0
"""When to ask again where all were taken: most calls end within it."""

UNKNOWN_S = 5.0
"""When to ask again where it could not be said."""


@contextmanager
def leased(leases: Leases, resource: str, holder: str, *, most: int, for_s: float) -> Iterator[None]:
    """Hold one of `most` while the block runs, at most `for_s` seconds; blocks for the store's I/O.

    Raises Throttled, so that another tier is tried, where all are taken or nobody can say how many are.
    """
    try:
        lease = leases.acquire(resource, holder, most=most, for_s=for_s)
    except Unavailable as fault:
        raise Throttled(f"nobody can say how many use {resource} now: {fault}", UNKNOWN_S) from fault
    if lease is None:
        raise Throttled(f"{resource} has {most} requests under way from all who share it", FULL_S)
    try:
        yield
    finally:
        try:
            leases.release(lease)
        except Unavailable as fault:
            log.warning("a lease of %s ends by itself only: %s", resource, fault)
