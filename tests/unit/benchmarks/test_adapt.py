"""How the benchmark of moving choices counts; what it measures is measured by running it."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import adapt
from gateway.backends.fake import FakeBackend, steady
from gateway.backends.protocol import Invocation
from registry.catalogue import Catalogue
from registry.model import Accuracy, Placement, Price, Recipe, StartMode, Tier, TierKind, Variant
from scheduler.events import Measured

TIER = Tier("inline", TierKind.INLINE, 2.0, 2048, 2, StartMode.ALWAYS, Price(0.00003))
SVM = Variant("digits", adapt.ACCURATE, "blake3:x", Recipe("test"), Accuracy(0.9, 0.9, 0.9, 9, "wilson"))


def trial(chosen: str, paces: list[float] | None = None) -> adapt.Trial:
    """Decisions by letter: `a` for the accurate placement, `f` for the fast one, `x` for none."""
    served = [None if letter == "x" else SimpleNamespace(placement=letter, slo_met=letter == "a") for letter in chosen]
    return adapt.Trial(served, paces or [1.0] * len(chosen))  # type: ignore[arg-type]


def away(placement: str) -> bool:
    return placement != "a"


def test_a_move_is_the_first_of_five_in_a_row() -> None:
    assert adapt._first(trial("aaaa" + "affffaafffff"), away, 4, 16) == 7
    assert adapt._first(trial("aaaa" + "fffffaaaaaaa"), away, 4, 16) == 0
    assert adapt._first(trial("aaaa" + "aaffffaafxff"), away, 4, 16) is None


def test_a_move_has_to_end_within_its_phase() -> None:
    assert adapt._first(trial("aaaaffffffff"), away, 0, 8) is None
    assert adapt._first(trial("aaaaffffffff"), away, 0, 9) == 4


@pytest.mark.parametrize(("factor", "past"), [(2.0, 1.5), (0.8, 0.88)])
def test_a_change_is_noticed_past_half_of_it(factor: float, past: float) -> None:
    length = adapt.Length(2, 3, 2, 1, adapt.Plan())
    almost = math.sqrt(factor) * (1.01 if factor < 1 else 0.99)
    assert adapt._noticed(trial("aaaaaaa", [past, 1.0, almost, 1.0, past, 1.0, 1.0]), factor, length) == 2
    assert adapt._noticed(trial("aaaaaaa"), factor, length) is None


def test_false_alarms_are_counted_once_each() -> None:
    paces = [1.0, 1.15, 1.2, 1.0, 0.85, 1.05, 1.3]
    assert adapt._false_alarms(trial("aaaaaaa", paces), None) == 3
    assert adapt._false_alarms(trial("aaaaaaa", paces), 4) == 1


def test_attainment_counts_what_was_refused_as_missed() -> None:
    assert adapt._attained(trial("aaxf")) == 0.5


def test_what_never_happened_counts_as_the_whole_phase() -> None:
    assert adapt._spread("moved", [3, None, 5], 80)["moved"] == 5.0
    assert adapt._spread("moved", [None, None], 80) == {"moved": None, "moved_low": None, "moved_high": None}


def test_a_frozen_fleet_learns_nothing_from_answers() -> None:
    frozen = adapt.Frozen(Catalogue.empty())
    before = frozen.view()
    frozen.emit(Measured("t/a@cpu:1", 1, 1.0, (), 1.0, 0.0))
    assert not frozen._pending
    assert frozen.view() == before


async def test_slowed_runs_really_take_longer_and_hold_their_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(adapt.time, "sleep", slept.append)
    inner = FakeBackend(TIER, emit=lambda event: None, answer=lambda invocation: {}, timing=steady(run_ms=0.0))
    slowed = adapt.Slowed(inner)
    loop = asyncio.get_running_loop()
    invocation = Invocation(
        "r", Placement(SVM.id, TIER.name), SVM, {"image": np.zeros((1, 64))}, deadline=adapt.time.monotonic() + 60.0
    )
    for factor in (1.0, 2.0):
        slowed.factors[SVM.id] = factor
        reply = await slowed.invoke(invocation)
        assert reply.billed_ms >= slept[-1] * 1000
    assert slept[0] == pytest.approx(adapt.LONGER_MS[adapt.ACCURATE] / 1000)
    assert slept[1] >= 2 * slept[0]
    assert not slowed._slots.locked()
    assert loop.is_running()
    await slowed.close()
