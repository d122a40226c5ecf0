"""A variant stays when it is clearly better than each that is kept, on any axis; noise is no reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.screen import AXES, Figures, better_on, dropped, seems_better

BASE = Figures(
    accuracy=0.90,
    row_ms=(1.00, 1.05, 0.98, 1.02),
    batch_row_ms=(0.20, 0.21, 0.20, 0.19),
    load_ms=(5.0, 5.2, 4.9, 5.1),
    memory_mb=10.0,
    size_bytes=1_000_000,
    max_batch=64,
    tiers=frozenset({"inline", "process-1769"}),
)
WORSE = replace(BASE, accuracy=0.85)


def times(ms: float, turns: int = 4) -> tuple[float, ...]:
    return (ms,) * turns


@pytest.mark.parametrize(
    ("axis", "other"),
    [
        ("accuracy", replace(BASE, accuracy=0.901)),
        ("p50_ms", replace(BASE, row_ms=times(0.85))),
        ("batch_row_p50_ms", replace(BASE, batch_row_ms=times(0.17))),
        ("max_batch", replace(BASE, max_batch=65)),
        ("load_ms", replace(BASE, load_ms=times(3.0))),
        ("memory_mb", replace(BASE, memory_mb=8.9)),
        ("size_bytes", replace(BASE, size_bytes=900_000)),
        ("tiers", replace(BASE, tiers=BASE.tiers | {"lambda-1769"})),
    ],
)
def test_each_axis_is_a_reason_to_be_kept(axis: str, other: Figures) -> None:
    assert better_on(other, BASE) == (axis,)
    assert axis in AXES
    assert dropped({"base": BASE, "other": other}, ["other"]) == {}


@pytest.mark.parametrize(
    "other",
    [
        BASE,
        replace(BASE, row_ms=(0.95, 0.99, 0.93, 0.97)),  # five in a hundred, and every turn won
        replace(BASE, row_ms=(0.5, 0.5, 1.5, 1.5)),  # a lower median, and half of the turns lost
        replace(BASE, memory_mb=9.5),
        replace(BASE, size_bytes=950_000),
        replace(BASE, tiers=frozenset({"inline"})),
        WORSE,
    ],
)
def test_what_noise_could_have_done_is_no_reason(other: Figures) -> None:
    assert dropped({"base": BASE, "other": other}, ["other"]) == {"other": "base"}


def test_one_that_takes_one_row_only_ousts_none_that_takes_more() -> None:
    """Of a model whose rows take the same time each, however many there are."""
    original = replace(BASE, row_ms=times(1.0), batch_row_ms=times(1.0), load_ms=times(20.0))
    compiled = replace(original, load_ms=times(5.0))
    single = replace(compiled, row_ms=times(0.85), batch_row_ms=times(0.85), max_batch=1)
    figures = {"original": original, "compiled": compiled, "single": single}
    assert dropped(figures, ["compiled", "single"]) == {}


def test_small_memories_differ_by_chance() -> None:
    small = replace(BASE, memory_mb=0.5)
    assert better_on(replace(small, memory_mb=0.1), small) == ()


def test_one_that_lies_between_two_is_kept() -> None:
    fast = replace(BASE, accuracy=0.80, row_ms=times(0.1))
    between = replace(BASE, accuracy=0.85, row_ms=times(0.5))
    assert dropped({"base": BASE, "fast": fast, "between": between}, ["fast", "between"]) == {}


def test_registered_variants_are_never_dropped() -> None:
    assert dropped({"base": BASE, "bad": WORSE}, []) == {}


def test_of_equals_the_earlier_is_kept() -> None:
    fast = replace(BASE, row_ms=times(0.5))
    figures = {"base": BASE, "one": fast, "two": fast}
    assert dropped(figures, ["one", "two"]) == {"two": "one"}


def test_the_winner_that_is_named_is_kept_itself() -> None:
    good = replace(BASE, row_ms=times(0.5))
    better, worse = replace(good, row_ms=times(0.46)), replace(good, accuracy=0.89)
    figures = {"good": good, "better": better, "worse": worse}
    assert dropped(figures, ["better", "worse"]) == {"better": "good", "worse": "good"}


def test_a_variant_whose_winner_falls_is_looked_at_again() -> None:
    base = replace(BASE, row_ms=times(1.0))
    middle, fast = replace(base, row_ms=times(0.91)), replace(base, row_ms=times(0.85))
    # The fast one is no clear gain on the middle one, which is none on the base; on the base it is.
    assert dropped({"base": base, "middle": middle, "fast": fast}, ["middle", "fast"]) == {"middle": "base"}


def test_numbers_have_units_and_may_say_whose_they_are() -> None:
    assert dict(BASE.numbers()) == pytest.approx(
        {
            "accuracy": 0.90,
            "p50_ms": 1.01,
            "batch_row_p50_ms": 0.20,
            "load_ms": 5.05,
            "memory_mb": 10.0,
            "size_bytes": 1e6,
        }
    )
    assert [name for name, _ in BASE.numbers(of="int8.")][:2] == ["int8.accuracy", "int8.p50_ms"]


def test_what_noise_makes_smaller_only_seems_better() -> None:
    for other in (replace(BASE, row_ms=times(0.99)), replace(BASE, memory_mb=9.9), replace(BASE, size_bytes=999_999)):
        assert seems_better(other, BASE)
        assert not better_on(other, BASE)
    assert not seems_better(BASE, BASE)
    assert not seems_better(WORSE, BASE)
