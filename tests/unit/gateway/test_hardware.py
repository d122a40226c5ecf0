"""What was measured or compiled for other hardware is told, and what would answer wrongly never runs."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from gateway import hardware
from gateway.hardware import cuda_here, quarantine_unfit, stale_here, tiers_here, warn_of_stale
from gateway.snapshots import Snapshots
from optimizer.fingerprint import fingerprint
from registry.catalogue import Catalogue
from registry.isa import LEVELS as CPU_LEVELS
from registry.isa import level_of
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import gpu_tier, local_tiers
from scheduler.choose import choose
from scheduler.requests import Request

OTHER = next(level for level, _ in CPU_LEVELS if level != level_of(fingerprint().isa))


@pytest.fixture
def catalogue() -> Catalogue:
    """A better variant that was compiled for another CPU, measured there, and a plain one that was measured here."""
    task = Task("t", (TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy")
    plain = Variant("t", "plain", "blake3:" + "0" * 64, Recipe("train"), Accuracy(0.8, 0.7, 0.9, 100, "wilson"))
    recipe = Recipe("compile", "plain", (("level", OTHER),))
    other = replace(plain, name="other", recipe=recipe, accuracy=Accuracy(0.9, 0.8, 1.0, 100, "wilson"))
    inline = local_tiers()[0]
    placements = [Placement(v.id, inline.name) for v in (plain, other)]
    times = ServiceTime(1, Quantiles((1.0,) * len(LEVELS), 1.0), 1.0)
    profiles = [
        Profile(p.id, (times,), ZERO, ZERO, 1.0, where, "none", 1, "2026")
        for p, where in zip(placements, (str(fingerprint()), "elsewhere"), strict=True)
    ]
    base = Catalogue.empty().with_tasks(task).with_tiers(inline).with_variants(plain, other)
    return base.with_placements(*placements).with_profiles(*profiles)


def test_one_warning_names_the_tasks_and_the_command(catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    assert stale_here(catalogue) == {"t/other@inline:1"}
    assert stale_here(catalogue) is stale_here(catalogue)
    with caplog.at_level(logging.WARNING):
        warn_of_stale(catalogue)
    assert [record.getMessage() for record in caplog.records] == [
        "profiles of t were taken on other hardware and are used until they are measured again: modelless profile t"
    ]


def test_nothing_stale_is_nothing_said(catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    profile = catalogue.profiles["t/other@inline:1"]
    with caplog.at_level(logging.WARNING):
        warn_of_stale(catalogue.with_profiles(replace(profile, fingerprint=str(fingerprint()))))
    assert caplog.records == []


def test_what_this_cpu_would_answer_wrongly_is_never_chosen(catalogue: Catalogue) -> None:
    snapshots, request = Snapshots(catalogue), Request("t", Slo())
    assert choose(request, *snapshots.view(), 1.0).ranked[0].placement.variant == "t/other"
    for _ in range(2):
        quarantine_unfit(snapshots, lambda: 0.0)
    decision = choose(request, *snapshots.view(), 1.0)
    assert [estimate.placement.variant for estimate in decision.ranked] == ["t/plain"]
    assert f"compiled for {OTHER}" in decision.why_not()["t/other@inline:1"]


def test_a_gpu_s_tier_is_there_where_a_url_says_so() -> None:
    assert tiers_here({}) == local_tiers()
    assert tiers_here({"MODELLESS_CONTAINERS": '{"container-cpu": "http://a"}'}) == local_tiers()
    assert tiers_here({"MODELLESS_CONTAINERS": '{"container-gpu": "http://a"}'}) == (*local_tiers(), gpu_tier())


@pytest.mark.parametrize("asked", ["pass", "raise SystemExit('no driver')"])
def test_or_where_cuda_can_really_be_used(
    asked: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hardware, "CUDA_DISTRIBUTION", "numpy")  # one that is installed
    monkeypatch.setattr(hardware, "ASK_CUDA", asked)
    assert cuda_here() is (asked == "pass")
    assert (gpu_tier() in tiers_here({})) is (asked == "pass")
    assert ("no driver" in caplog.text) is (asked != "pass")


def test_where_no_build_with_cuda_is_installed_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "CUDA_DISTRIBUTION", "no-such-distribution")
    monkeypatch.setattr(hardware, "ASK_CUDA", "raise SystemExit(0)")
    assert not cuda_here()
