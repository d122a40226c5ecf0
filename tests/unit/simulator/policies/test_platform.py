"""The hardware as each policy has it."""

from __future__ import annotations

from typing import Any

from simulator.hardware import Hardware
from simulator.policies.copies import Obedient
from simulator.policies.modelless import Modelless
from simulator.policies.platform import platform
from simulator.policies.slackfit import SlackFit
from simulator.policies.static import StaticBest

MODELS = {"a": (0.9, {1: 10.0})}


def test_a_baseline_begins_with_its_copies_which_obey(build: Any) -> None:
    catalogue = build(MODELS, "box", "gpu", "small")

    fixed = platform(SlackFit(catalogue, 3), Hardware(overhead_ms=2.0))
    functions = platform(StaticBest(catalogue), Hardware())

    assert fixed.provisioned == {"box": 3, "gpu": 0}
    assert fixed.deciders == {"box": Obedient, "gpu": Obedient}
    assert fixed.overhead_ms == 2.0
    assert functions.provisioned == {"box": 0, "gpu": 0}


def test_ours_has_it_as_it_is(build: Any) -> None:
    hardware = Hardware(provisioned={"box": 2})

    assert platform(Modelless(build(MODELS, "box")), hardware) is hardware
