"""The values refuse what cannot be, naming field, problem and fix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from registry.errors import InvalidValue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Objective,
    OnInfeasible,
    Placement,
    Price,
    Profile,
    Quantiles,
    ServiceTime,
    Slo,
    StartMode,
    TensorSpec,
    Tier,
    TierKind,
    check_name,
)


@pytest.mark.parametrize("name", ["a", "digits", "0", "a.b_c-d", "x" * 64])
def test_a_name(name: str) -> None:
    check_name(name, "task.name")


@pytest.mark.parametrize("name", ["", "A", "-a", ".a", "a b", "a/b", "a@b", "é", "digits\n", "x" * 65])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InvalidValue, match=r"task\.name: .* is not a name; use"):
        check_name(name, "task.name")


@pytest.mark.parametrize(
    ("hints", "field"),
    [
        ({"latency_ms": 0}, "latency_ms"),
        ({"latency_ms": -5}, "latency_ms"),
        ({"latency_ms": math.inf}, "latency_ms"),
        ({"latency_ms": math.nan}, "latency_ms"),
        ({"latency_ms": 10**400}, "latency_ms"),
        ({"latency_ms": "80"}, "latency_ms"),
        ({"latency_ms": True}, "latency_ms"),
        ({"percentile": 100}, "percentile"),
        ({"percentile": None}, "percentile"),
        ({"min_accuracy": 1.01}, "min_accuracy"),
        ({"max_cost_usd": -1}, "max_cost_usd"),
        ({"objective": "fame"}, "objective"),
        ({"on_infeasible": 3}, "on_infeasible"),
        ({"latency": 3}, "latency"),
    ],
)
def test_a_wrong_hint_is_named(hints: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Slo().with_hints(hints)
    assert caught.value.field == f"slo.{field}"
    assert str(caught.value) == f"slo.{field}: {caught.value.problem}; {caught.value.fix}"


def test_hints_lie_over_the_default() -> None:
    default = Slo(latency_ms=50.0, min_accuracy=0.9)
    hinted = default.with_hints({"latency_ms": None, "objective": "cost", "on_infeasible": "strict", "max_cost_usd": 1})
    assert hinted == Slo(None, 95.0, 0.9, 1.0, Objective.COST, OnInfeasible.STRICT)
    assert default == Slo(latency_ms=50.0, min_accuracy=0.9)


@pytest.mark.parametrize(("datatype", "shape"), [("float", (1,)), ("FP32", ()), ("FP32", (0,)), ("FP32", (-2,))])
def test_a_tensor_that_cannot_be(datatype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidValue, match=r"x\.(datatype|shape)"):
        TensorSpec("x", datatype, shape)


@pytest.mark.parametrize("interval", [(0.9, 0.95, 1.0), (0.9, 0.8, 0.85), (1.1, 1.0, 1.2), (0.5, -0.1, 0.6)])
def test_an_accuracy_outside_its_interval_cannot_be(interval: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidValue, match="accuracy"):
        Accuracy(*interval, rows=10, method="wilson")


@pytest.mark.parametrize(
    "ms",
    [
        (1.0,),
        tuple(range(len(LEVELS), 0, -1)),
        (-1.0, *range(1, len(LEVELS))),
        (*range(1, len(LEVELS)), math.inf),
        (*range(1, len(LEVELS) - 1), math.nan, len(LEVELS)),
    ],
)
def test_quantiles_that_cannot_be(ms: tuple[float, ...]) -> None:
    with pytest.raises(InvalidValue, match="quantiles"):
        Quantiles(ms, 1.0)


IMPOSSIBLE = (-1.0, math.nan, math.inf)


@pytest.mark.parametrize("value", IMPOSSIBLE)
def test_measured_numbers_are_finite(value: float) -> None:
    with pytest.raises(InvalidValue, match="quantiles"):
        Quantiles(ZERO.ms, value)
    with pytest.raises(InvalidValue, match=r"service time\.billed_ms"):
        ServiceTime(1, ZERO, value)
    with pytest.raises(InvalidValue, match=r"profile p\.memory_mb"):
        Profile("p", (ServiceTime(1, ZERO, 0.0),), ZERO, ZERO, value, "cpu", "none", 1, "2026-11-23T00:00:00+00:00")


@pytest.mark.parametrize("field", ["usd_per_busy_s", "usd_per_request", "usd_per_start", "usd_per_idle_s", "step_ms"])
@pytest.mark.parametrize("value", IMPOSSIBLE)
def test_nothing_costs_less_than_nothing(field: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=rf"price\.{field}"):
        Price(**{"usd_per_busy_s": 0.0, field: value})


def test_a_billed_step_takes_time() -> None:
    with pytest.raises(InvalidValue, match=r"price\.step_ms"):
        Price(0.0, step_ms=0.0)


@pytest.mark.parametrize("field", ["vcpus", "idle_timeout_s", "timeout_s"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_tier_is_finite(field: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=rf"tier t\.{field}"):
        replace(Tier("t", TierKind.INLINE, 1.0, 1, 1, StartMode.ALWAYS, Price(0.0)), **{field: value})


@pytest.mark.parametrize("settings", [{"threads": 0}, {"threads": 65}, {"max_batch": 0}, {"max_batch": 10**30}])
def test_a_placement_has_settings_that_a_worker_takes(settings: dict[str, int]) -> None:
    with pytest.raises(InvalidValue, match=rf"placement\.{next(iter(settings))}"):
        Placement("digits/mlp", "inline", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [(), (0,), (2, 1), (1, 1)])
def test_a_profile_has_ascending_batch_sizes(rows: tuple[int, ...]) -> None:
    service = tuple(ServiceTime(n, ZERO, 0.0) for n in rows)
    with pytest.raises(InvalidValue, match=r"profile p\.service"):
        Profile("p", service, ZERO, ZERO, 1.0, "cpu", "none", 1, "2026-11-23T00:00:00+00:00")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tier("t", TierKind.INLINE, 0.0, 1, 1, StartMode.ALWAYS, Price(0.0)),
        lambda: Tier("t", TierKind.INLINE, 1.0, 0, 1, StartMode.ALWAYS, Price(0.0)),
        lambda: Tier("t", TierKind.INLINE, 1.0, 1, 0, StartMode.ALWAYS, Price(0.0)),
    ],
)
def test_a_tier_needs_room(make: Callable[[], Tier]) -> None:
    with pytest.raises(InvalidValue, match="tier t"):
        make()


def test_a_placement_is_named_by_all_that_tells_it_apart() -> None:
    packed, unpacked = Placement("digits/mlp", "inline", 2), Placement("digits/mlp", "inline", 2, prepack=False)
    assert (packed.id, unpacked.id) == ("digits/mlp@inline:2", "digits/mlp@inline:2u")
    assert packed.task == "digits"


@pytest.mark.parametrize(
    ("kind", "vcpus", "concurrency", "threads"),
    [
        (TierKind.INLINE, 2.0, 2, 1),
        (TierKind.INLINE, 8.0, 2, 4),
        (TierKind.INLINE, 1.0, 4, 1),
        (TierKind.PROCESS, 2.0, 4, 2),
        (TierKind.CONTAINER, 2.0, 2, 1),
        (TierKind.GPU, 4.0, 1, 4),
        (TierKind.LAMBDA, 0.58, 100, 1),
    ],
)
def test_a_run_uses_no_more_threads_than_are_its_own(
    kind: TierKind, vcpus: float, concurrency: int, threads: int
) -> None:
    assert Tier("t", kind, vcpus, 1769, concurrency, StartMode.ALWAYS, Price(0.0)).threads == threads


@pytest.mark.parametrize("hints", [{"x" * 10_000: 1}, {"objective": "x" * 10_000}, {"latency_ms": "x" * 10_000}])
def test_a_refusal_does_not_repeat_what_was_sent_at_length(hints: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue) as refusal:
        Slo().with_hints(hints)
    assert len(str(refusal.value)) < 400
