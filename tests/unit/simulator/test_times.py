"""What is drawn follows what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from registry.model import LEVELS
from simulator.times import Times, quantile


def test_draws_have_the_quantiles_of_the_profile(make_catalogue, make_tier) -> None:
    catalogue = make_catalogue(make_tier("a"), varying=True)
    times = Times(catalogue, np.random.default_rng(1))
    drawn = [times.run_ms("t/v0@a:1", 2)[0] for _ in range(20_000)]
    measured = catalogue.profiles["t/v0@a:1"].service[1].latency.ms
    np.testing.assert_allclose(np.quantile(drawn, LEVELS[1:-1]), measured[1:-1], rtol=0.02)
    assert measured[0] <= min(drawn)
    assert max(drawn) <= measured[-1]


def test_between_two_sizes_times_are_interpolated(make_catalogue, make_tier) -> None:
    times = Times(make_catalogue(make_tier("a")), np.random.default_rng(1))
    # It was billed as 40 ms at the next size, where steps of a millisecond add half of one on average.
    assert times.run_ms("t/v0@a:1", 3) == pytest.approx((30.0, 30.0 * 39.5 / 40.0))
    assert (times.load_ms("t/v0@a:1"), times.init_ms("t/v0@a:1")) == (50.0, 200.0)


def test_a_quantile_function_is_linear_between_levels_and_flat_outside() -> None:
    ms = [10.0 * level for level in LEVELS]
    for level in (0.011, 0.3, 0.5, 0.93, 0.9985):
        assert quantile(ms, level) == pytest.approx(10.0 * level)
    assert (quantile(ms, 0.0), quantile(ms, 0.99999)) == (ms[0], ms[-1])
