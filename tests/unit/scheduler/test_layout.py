from __future__ import annotations

import math
from dataclasses import replace

import pytest

from registry.model import StartMode, TierKind
from scheduler.layout import layout_of


def test_measured_placements_come_first_then_ids(build, spec) -> None:
    catalogue = build(spec("b"), spec("a", profiled=False), spec("c"))
    layout = layout_of(catalogue)
    assert [p.id for p in layout.placements] == ["t/b@cpu:1", "t/c@cpu:1", "t/a@cpu:1"]
    span = layout.spans["t"]
    assert (span.start, span.measured, span.stop) == (0, 2, 3)
    assert layout.number["t/a@cpu:1"] == 2


def test_groups(build, spec, tier) -> None:
    layout = layout_of(build(spec("a"), spec("a", "gpu"), spec("b"), tiers=(tier("gpu"), tier("cpu"))))
    assert [t.name for t in layout.tiers] == ["cpu", "gpu"]
    assert layout.tier_of.tolist() == [0, 1, 0]
    assert layout.of_tier[0].tolist() == [0, 2]
    assert layout.of_variant["t/a"].tolist() == [0, 1]
    assert layout.of_variant_on[(0, "t/a")].tolist() == [0]


def test_a_snapshot_has_one_layout(build, spec) -> None:
    catalogue = build(spec("a"))
    assert layout_of(catalogue) is layout_of(catalogue)


def test_variation_is_of_the_smallest_batch(build, spec, ramp, flat) -> None:
    layout = layout_of(
        build(spec("a", service={1: ramp(0.0, 100.0), 2: flat(1.0)}), spec("b"), spec("c", profiled=False))
    )
    assert layout.variation[0] == pytest.approx(1 / 3, rel=0.02)  # 100² / 12 over 50²
    assert layout.variation[1:] == (0.0, 0.0)


@pytest.mark.parametrize(("kind", "expected"), [(TierKind.CONTAINER, 0.4), (TierKind.GPU, 0.4), (TierKind.INLINE, 1.0)])
def test_what_queued_requests_share_is_the_run_and_the_rest_is_each_one_s_own(
    build, spec, tier, flat, *, kind, expected
) -> None:
    box = tier("box", kind=kind, start_mode=StartMode.ALWAYS)
    service = {1: flat(10.0), 8: flat(12.0), 64: flat(20.0)}
    catalogue = build(
        spec("a", tier="box", service=service, max_batch=8), spec("b", tier="box", profiled=False), tiers=(box,)
    )
    profile = catalogue.profiles["t/a@box:1"]
    # Of 10 ms alone, 7.5 are the run; of one of eight rows each has an eighth of 12.
    billed = (7.5, 12.0, 1.0)
    measured = tuple(replace(s, billed_ms=ms) for s, ms in zip(profile.service, billed, strict=True))
    layout = layout_of(catalogue.with_profiles(replace(profile, service=measured)))
    assert layout.shared == pytest.approx([expected, 1.0])


@pytest.mark.parametrize("kind", [TierKind.INLINE, TierKind.CONTAINER, TierKind.GPU])
def test_only_some_kinds_share_an_environment_and_only_kept_tiers_never_expire(build, spec, tier, kind) -> None:
    inline = tier("inline", kind=kind, start_mode=StartMode.ALWAYS, concurrency=3)
    layout = layout_of(build(spec("a"), tiers=(tier("cpu"), inline, tier("kept", start_mode=StartMode.PROVISIONED))))
    assert [layout.slots(i) for i in range(3)] == [1, 3, 1]
    assert [layout.idle_timeout_s(i) for i in range(3)] == [100.0, math.inf, math.inf]
