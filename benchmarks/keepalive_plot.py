"""Draws keep-alive policies as cold share over idle hours; it measures nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAMILIES = ("none", "fixed", "hybrid_histogram", "lsth", "greedy_dual", "icebreaker", "oracle", "modelless")
"""How the names of policies begin; those that begin alike are a line."""

MARKERS = "xosDv^*P"


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Write a PNG: requests at the end of their minutes on the left, anywhere in them on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True)
    _pane(left, rows, "", "requests at the end of their minute")
    _pane(right, rows, "uniform_", "requests anywhere in their minute (median)")
    left.set_ylabel("cold share of all requests; hollow: as experienced")
    left.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _pane(axes: Axes, rows: Sequence[Row], prefix: str, title: str) -> None:
    for place, family in enumerate(FAMILIES):
        members = sorted((row for row in rows if row["policy"].startswith(family)), key=_by(f"{prefix}idle_hours"))
        idle, cold, met = (
            [float(row[f"{prefix}{figure}"]) for row in members]
            for figure in ("idle_hours", "cold_share", "experienced_cold_share")
        )
        style: dict[str, Any] = {"marker": MARKERS[place], "color": f"C{place}", "linewidth": 1.0}
        axes.plot(idle, cold, label=family, **style)
        if met != cold:
            # A share of 0 has no place on a logarithmic axis.
            axes.plot(idle, [share or math.nan for share in met], linestyle=":", markerfacecolor="none", **style)
    axes.set(xlabel="idle-warm hours of all applications in the day", yscale="log", title=title)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share * 100:g} %")
    axes.grid(visible=True, which="both", color="0.9", linewidth=0.6)


def _by(field: str) -> Callable[[Row], float]:
    return lambda row: float(row[field])
