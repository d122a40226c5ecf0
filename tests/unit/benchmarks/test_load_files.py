from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load_files import Plan, read_measured, write_measured
from benchmarks.load_measured import Measured


def same(a: Any, b: Any) -> bool:
    """Whether two values of the same class have equal fields, arrays in type too."""
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(a)]
    return all(x.dtype == y.dtype and np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y for x, y in pairs)


def plan(requests: list[bytes], times: list[float] | None) -> Plan:
    return Plan(
        host="::1",
        port=80,
        requests=requests,
        timeout_s=0.1,
        connections=3,
        most_connections=5,
        times=None if times is None else np.array(times),
        seconds=2.5,
        warm_s=0.5,
    )


@given(st.lists(st.binary(max_size=20), min_size=1), st.none() | st.lists(st.floats(0, 1e6)))
def test_a_plan_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, requests: list[bytes], times: list[float] | None
) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.npz"
    written = plan(requests, times)
    written.write(path)
    assert same(Plan.read(path), written)


@pytest.mark.parametrize("bodies", [(), ((0, b"first"), (1, b""), (0, b"\x00again"))])
@pytest.mark.parametrize("refused", [{}, {429: b"late", 500: b""}])
def test_what_was_measured_is_read_as_it_was_written(
    tmp_path: Path, bodies: tuple[tuple[int, bytes], ...], refused: dict[int, bytes]
) -> None:
    times = np.array([0.25, 0.5])
    numbers = np.array([200, 0])
    written = Measured(times, times + 1, times + 2, numbers, numbers - 1, bodies, refused, 0.25, 3.5)
    write_measured(written, tmp_path / "measured.npz")
    assert same(read_measured(tmp_path / "measured.npz"), written)
