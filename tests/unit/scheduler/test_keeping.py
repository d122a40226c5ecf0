"""What an environment that is kept costs follows from how its tier starts, and what it holds from its kind."""

from __future__ import annotations

import pytest

from registry.model import Price, StartMode, Tier, TierKind
from scheduler.keeping import (
    INLINE_SHARE,
    MEMORY_SHARE,
    PING_MS,
    RENEWED,
    RESERVE_MB,
    holding_usd,
    kept_mb,
    room_mb,
)


def tier(
    *,
    kind: TierKind = TierKind.LAMBDA,
    start_mode: StartMode = StartMode.ONDEMAND,
    mb: int = 1000,
    idle_usd: float = 0.0,
) -> Tier:
    price = Price(1e-5, usd_per_request=1e-7, usd_per_idle_s=idle_usd)
    return Tier("t", kind, 1.0, mb, 10, start_mode, price, idle_timeout_s=300.0)


def test_what_is_always_there_costs_nothing_more() -> None:
    assert holding_usd(tier(start_mode=StartMode.ALWAYS), 60.0) == 0.0


def test_what_is_provisioned_costs_by_the_second() -> None:
    assert holding_usd(tier(start_mode=StartMode.PROVISIONED, idle_usd=0.001), 60.0) == pytest.approx(0.06)


def test_what_starts_by_itself_is_called_once_in_half_of_its_idle_life() -> None:
    ping = 1e-7 + PING_MS / 1000 * 1e-5

    assert holding_usd(tier(), 60.0) == pytest.approx(ping * 60.0 / (300.0 * RENEWED))


@pytest.mark.parametrize(
    ("kind", "mb", "kept"),
    [
        (TierKind.LAMBDA, 1000, 1000 - RESERVE_MB),
        (TierKind.LAMBDA, 256, 128.0),
        (TierKind.INLINE, 1000, 1000 * INLINE_SHARE),
    ],
)
def test_a_part_of_the_memory_is_left_to_variants(kind: TierKind, mb: int, kept: float) -> None:
    assert kept_mb(tier(kind=kind, mb=mb)) == kept


def test_no_more_is_planned_than_stays_resident() -> None:
    assert room_mb(tier(mb=256)) == 128.0
    assert room_mb(tier(mb=10_000)) == MEMORY_SHARE * 10_000
