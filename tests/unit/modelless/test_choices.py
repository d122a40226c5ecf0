"""Tiers, generators and SLOs are taken by name or as values, and unknown names answered with the nearest."""

from __future__ import annotations

from typing import Any

import pytest

from modelless.choices import generators_named, slo_of, tiers_named
from optimizer.generate.table import GENERATORS
from registry.errors import InvalidValue
from registry.model import Slo
from registry.prices import gpu_tier, local_tiers


def test_tiers_are_all_that_are_here_or_those_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiers_named(None) == local_tiers()
    monkeypatch.setenv("MODELLESS_CONTAINERS", '{"container-gpu": "http://gpu:8080"}')
    assert tiers_named(None) == (*local_tiers(), gpu_tier())
    assert tiers_named("container-gpu") == (gpu_tier(),)
    assert tiers_named(["inline", local_tiers()[1]]) == local_tiers()[:2]
    assert tiers_named("inline") == local_tiers()[:1]


@pytest.mark.parametrize(
    ("tiers", "message"),
    [(["inlin"], "did you mean inline"), ([], "are none"), (["inline", "inline"], "one of them twice")],
)
def test_bad_tiers_are_refused(tiers: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        tiers_named(tiers)


def test_generators_are_all_none_or_those_named() -> None:
    assert generators_named(True) == tuple(GENERATORS)
    assert generators_named(False) == generators_named(()) == ()
    assert generators_named(["int8", "compile", "int8"]) == ("int8", "compile")
    assert generators_named("int8") == ("int8",)
    with pytest.raises(InvalidValue, match="generate: 'int9' is no generator; did you mean int8"):
        generators_named(["int9"])


def test_bounds_are_an_slo() -> None:
    assert slo_of(None) == Slo()
    assert slo_of({"latency_ms": 5, "min_accuracy": 0.9}) == Slo(latency_ms=5.0, min_accuracy=0.9)
    assert slo_of(Slo(percentile=99)) == Slo(percentile=99)
    with pytest.raises(InvalidValue, match=r"slo\.latency: is not a hint"):
        slo_of({"latency": 5})
