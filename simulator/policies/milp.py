"""Solves mixed-integer linear programs with HiGHS; the one place that knows scipy, which is imported when asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np

LIMIT_S = 10.0
"""Longest search; what was found by then counts."""


@dataclass(slots=True)
class Program:
    """Minimise cost · x over x from 0 to `most`, some of it whole, subject to rows low <= a · x <= high."""

    cost: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[tuple[dict[int, float], float, float]] = field(default_factory=list)

    def variable(self, cost: float = 0.0, most: float = inf, *, whole: bool = False) -> int:
        """A new variable; returns its number."""
        self.cost.append(cost)
        self.most.append(most)
        self.whole.append(whole)
        return len(self.cost) - 1

    def require(self, terms: dict[int, float], low: float = -inf, high: float = inf) -> None:
        """A sum of variables times factors must lie between the two."""
        self.rows.append((terms, low, high))

    def solve(self, gap: float = 0.0) -> Sequence[float] | None:
        """The best values, to within this relative gap of the objective; None where there are none.

        Raises ModuleNotFoundError saying what to install where scipy is not.
        """
        try:
            from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415
        except ModuleNotFoundError as fault:
            message = "this policy solves integer programs: pip install 'modelless[simulate]'"
            raise ModuleNotFoundError(message, name=fault.name) from fault
        matrix = np.zeros((len(self.rows), len(self.cost)))
        for i, (terms, _, _) in enumerate(self.rows):
            matrix[i, list(terms)] = list(terms.values())
        low, high = [row[1] for row in self.rows], [row[2] for row in self.rows]
        found = milp(
            self.cost,
            integrality=np.array(self.whole, dtype=int),
            bounds=Bounds(0.0, np.array(self.most)),
            constraints=LinearConstraint(matrix, low, high),
            options={"mip_rel_gap": gap, "time_limit": LIMIT_S},
        )
        return None if found.x is None else [float(value) for value in found.x]
