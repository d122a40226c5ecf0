"""The fit is monotone and nearest to what was measured, and knows where straight lines do not hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.fit import batch_error, monotone, service_times, size_to_add
from registry.model import LEVELS, ServiceTime

weighted = st.lists(st.tuples(st.floats(0, 1e3), st.integers(1, 100)), min_size=1, max_size=12)


def fitted(times: dict[int, float]) -> tuple[ServiceTime, ...]:
    return service_times({rows: ([ms], [ms]) for rows, ms in times.items()})


def test_what_ascends_stays() -> None:
    assert monotone(np.array([1.0, 2.0, 2.0, 5.0]), np.ones(4)).tolist() == [1.0, 2.0, 2.0, 5.0]


def test_what_descends_is_pooled_by_weight() -> None:
    assert monotone(np.array([1.0, 4.0, 1.0, 9.0]), np.array([1.0, 1.0, 2.0, 1.0])).tolist() == [1.0, 2.0, 2.0, 9.0]


@given(weighted)
def test_the_fit_ascends_and_keeps_the_mean(pairs: list[tuple[float, int]]) -> None:
    values, weights = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    found = monotone(values, weights)
    assert all(a <= b + 1e-9 for a, b in pairwise(found))
    assert found @ weights == pytest.approx(values @ weights)
    # The nearest of all: no other constant, and no other ascending sequence of these, is nearer.
    distance = weights @ (found - values) ** 2
    for other in (np.full_like(values, np.average(values, weights=weights)), np.sort(values), found + 0.1):
        assert distance <= weights @ (other - values) ** 2 + 1e-6


@given(st.dictionaries(st.integers(1, 64), st.lists(st.floats(0, 1e3), min_size=1, max_size=5), min_size=1, max_size=6))
def test_times_ascend_over_rows_and_levels(cells: dict[int, list[float]]) -> None:
    service = service_times({rows: (ms, ms) for rows, ms in cells.items()})
    assert [s.rows for s in service] == sorted(cells)
    for a, b in pairwise(service):
        assert all(x <= y for x, y in zip(a.latency.ms, b.latency.ms, strict=True))
        assert a.latency.mean <= b.latency.mean
        assert a.billed_ms <= b.billed_ms
    assert all(len(s.latency.ms) == len(LEVELS) for s in service)


def test_a_straight_line_is_foreseen() -> None:
    straight = fitted({1: 2.0, 2: 3.0, 8: 9.0, 64: 65.0})
    assert batch_error(straight) == pytest.approx(0.0)
    assert size_to_add(straight, 0.1) is None


def test_two_sizes_foretell_nothing() -> None:
    assert batch_error(fitted({1: 1.0, 64: 2.0})) is None
    assert size_to_add(fitted({1: 1.0, 64: 2.0}), 0.1) is None


def test_the_error_is_relative_to_what_was_measured() -> None:
    assert batch_error(fitted({1: 1.0, 2: 4.0, 3: 5.0})) == pytest.approx(0.25)


def test_a_size_is_added_in_the_worst_gap() -> None:
    step = fitted({1: 1.0, 8: 1.0, 16: 9.0, 64: 9.0})
    assert size_to_add(step, 0.1) == 12
    assert size_to_add(fitted({1: 1.0, 2: 1.0, 3: 9.0, 4: 9.0}), 0.1) is None
