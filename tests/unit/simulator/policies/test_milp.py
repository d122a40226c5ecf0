"""Integer programs through HiGHS."""

from __future__ import annotations

import sys

import pytest

from simulator.policies.milp import Program


def knapsack() -> Program:
    program = Program()
    items = [program.variable(cost=-value, most=1, whole=True) for value in (6.0, 5.0, 4.0)]
    program.require(dict(zip(items, (5.0, 4.0, 3.0), strict=True)), high=7.0)
    return program


def test_whole_variables_are_whole() -> None:
    assert knapsack().solve() == pytest.approx([0.0, 1.0, 1.0])


def test_what_cannot_be_has_no_solution() -> None:
    program = knapsack()
    program.require({0: 1.0, 1: 1.0, 2: 1.0}, low=3.0)

    assert program.solve() is None


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)

    with pytest.raises(ModuleNotFoundError, match=r"modelless\[simulate\]"):
        knapsack().solve()
