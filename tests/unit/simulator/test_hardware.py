"""How long idle environments live."""

from __future__ import annotations

import math

import numpy as np
import pytest

from registry.model import StartMode
from simulator.hardware import Hardware, constant, lognormal, uniform

DRAWS = np.linspace(0.0005, 0.9995, 1000).tolist()


def test_lifetimes_are_distributed_as_said() -> None:
    assert {constant(7.0)(draw) for draw in DRAWS} == {7.0}
    assert np.quantile([uniform(300.0, 3600.0)(draw) for draw in DRAWS], (0.0, 0.5, 1.0)) == pytest.approx(
        (300.0, 1950.0, 3600.0), rel=0.01
    )
    found = [lognormal(400.0, 0.5)(draw) for draw in DRAWS]
    assert np.median(found) == pytest.approx(400.0, rel=0.01)
    assert np.std(np.log(found)) == pytest.approx(0.5, rel=0.02)
    assert all(0.0 < lognormal(400.0, 0.5)(draw) < math.inf for draw in (0.0, 1.0))


def test_the_default_is_the_tiers_own(make_tier) -> None:
    hardware = Hardware(lifetimes={"b": constant(9.0)})
    assert hardware.lifetime(make_tier("a"))(0.3) == 100.0
    assert hardware.lifetime(make_tier("b"))(0.3) == 9.0
    assert hardware.lifetime(make_tier("c", start_mode=StartMode.ALWAYS))(0.3) == math.inf
