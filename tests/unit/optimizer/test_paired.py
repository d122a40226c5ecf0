"""What slows a new variant and its parent alike cancels out; what makes the new one different stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.paired import UNDISTURBED, Pair, as_published
from registry.model import LEVELS, Profile, Quantiles, ServiceTime

SHAPE = (0.9, 0.93, 0.95, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0)


def spread(ms: float, *, slice_ms: float = 0.0) -> Quantiles:
    """A tailed time of so many milliseconds undisturbed; from the median on, runs lose a time slice besides."""
    times = tuple(ms * share + (slice_ms if level > UNDISTURBED else 0.0) for level, share in enumerate(SHAPE))
    return Quantiles(times, ms * 1.2 + slice_ms / 2)


def profile(
    *sizes: tuple[int, Quantiles], load: float = 100.0, init: float = 50.0, fingerprint: str = "here"
) -> Profile:
    service = tuple(ServiceTime(rows, time, time.mean / 2) for rows, time in sizes)
    one = Quantiles((load,) * len(LEVELS), load)
    start = Quantiles((init,) * len(LEVELS), init)
    return Profile("t/v@cpu", service, one, start, 1.0, fingerprint, "none", 10, "now")


PUBLISHED = profile((1, spread(10.0)), (64, spread(40.0)))


def test_a_machine_that_is_twice_as_slow_cancels_out() -> None:
    now = profile((1, spread(20.0)), (64, spread(80.0)))
    found = as_published(profile((1, spread(6.0)), (64, spread(26.0)), load=80.0, init=500.0), Pair(PUBLISHED, now))
    for service, ms in zip(found.service, (3.0, 13.0), strict=True):
        assert service.latency.ms == pytest.approx(spread(ms).ms)
        assert service.latency.mean == pytest.approx(spread(ms).mean)
        assert service.billed_ms == pytest.approx(spread(ms).mean / 2)
    assert found.load.ms[0] == pytest.approx(40.0)
    assert found.init == PUBLISHED.init


def test_time_slices_that_others_take_are_not_the_variants_own() -> None:
    """A third of the work beside a server that takes 20 ms: measured, it takes 23 ms, longer than the parent alone."""
    now = profile((1, spread(10.0, slice_ms=20.0)))
    new = profile((1, spread(3.0, slice_ms=20.0)))
    (found,) = as_published(new, Pair(PUBLISHED, now)).service
    assert found.latency.ms == pytest.approx(spread(3.0).ms)


def test_on_a_machine_as_it_was_a_narrower_tail_stays() -> None:
    steady = Quantiles((3.0,) * len(LEVELS), 3.0)
    (found,) = as_published(profile((1, steady)), Pair(PUBLISHED, profile((1, spread(10.0))))).service
    assert found.latency.ms[UNDISTURBED:] == pytest.approx(steady.ms[UNDISTURBED:])
    assert found.latency.mean == pytest.approx(3.0)


def test_sizes_that_the_parent_has_not_are_compared_between_those_that_it_has() -> None:
    now = profile((1, spread(20.0)), (64, spread(80.0)))
    (found,) = as_published(profile((22, spread(10.0))), Pair(PUBLISHED, now)).service
    assert found.latency.ms == pytest.approx(spread(5.0).ms)


def test_a_parent_of_other_hardware_or_that_takes_no_time_says_nothing() -> None:
    new, now = profile((1, spread(3.0))), profile((1, spread(20.0)))
    assert as_published(new, Pair(replace(PUBLISHED, fingerprint="there"), now)) == new
    assert as_published(new, Pair(replace(PUBLISHED, cpu_share="duty-cycle"), now)) == new
    nothing = profile((1, Quantiles((0.0,) * len(LEVELS), 0.0)))
    assert as_published(new, Pair(PUBLISHED, nothing)).service == new.service
