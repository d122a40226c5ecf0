"""A task's frontier as a figure in a PNG file, by matplotlib, which nothing else needs; it shows no window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.canvas import empty_figure
from cli.scatter import numbered, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

Point = Mapping[str, Any]

MARKERS = "os^Dv*P"
"""A tier's marker; more tiers than these share them again."""

COLOURS = "viridis"

NAMED = 24
"""Most placements that the list beside the plot has room for."""


def save_figure(path: Path, title: str, points: Sequence[Point]) -> None:
    """Draw accuracy with its interval over p95 latency, cost as colour and tier as marker; writes `path`.

    Raises Failed without matplotlib, and OSError where the file cannot be written.
    """
    figure = empty_figure()  # first of all, as it says what to do without matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    axes, beside = figure.subplots(1, 2, width_ratios=(3, 1))
    beside.set_axis_off()
    costs = [max(p["cost_usd"] * 1e6, 1e-9) for p in points] or [1.0]
    # One cost alone would be a scale without length.
    norm = LogNorm(min(costs) / 1.05, max(costs) * 1.05)
    _draw(axes, points, norm)
    _label(axes, title)
    _scale(axes)
    if points:
        shades = ScalarMappable(norm, COLOURS)
        figure.colorbar(shades, ax=axes, label="US dollars per million requests", format="{x:g}")
        _name(beside, points)
    figure.savefig(path, format="png")


def _draw(axes: Axes, points: Sequence[Point], norm: Normalize) -> None:
    tiers = sorted({p["tier"] for p in points})
    numbers = numbered(points)
    for i, tier in enumerate(tiers):
        for ahead in (False, True):
            drawn = [p for p in points if p["tier"] == tier and (p["placement"] in numbers) == ahead]
            axes.scatter(
                [p["latency_ms"] for p in drawn],
                [p["accuracy"] for p in drawn],
                c=[max(p["cost_usd"] * 1e6, 1e-9) for p in drawn],
                norm=norm,
                cmap=COLOURS,
                marker=MARKERS[i % len(MARKERS)],
                s=110 if ahead else 34,
                alpha=1.0 if ahead else 0.35,
                edgecolors="black" if ahead else "none",
                linewidths=0.8,
                zorder=3 if ahead else 2,
            )
        axes.scatter([], [], marker=MARKERS[i % len(MARKERS)], color="grey", s=60, label=tier)
    best = _draw_frontier(axes, [p for p in points if p["placement"] in numbers], numbers)
    if best:
        right = max(p["latency_ms"] for p in points) * 1.1
        axes.step(
            [*(p["latency_ms"] for p in best), right],
            [*(p["accuracy"] for p in best), best[-1]["accuracy"]],
            where="post",
            color="black",
            linewidth=0.9,
            linestyle=":",
            zorder=1,
            label="best accuracy within a latency",
        )
        axes.legend(loc="best", fontsize="small", framealpha=0.9)


def _draw_frontier(axes: Axes, ahead: Sequence[Point], numbers: Mapping[str, str]) -> list[Point]:
    """Error bars and numbers of the frontier; returns the placements that no faster one equals in accuracy."""
    best: list[Point] = []
    for p in ahead:
        axes.errorbar(
            p["latency_ms"],
            p["accuracy"],
            yerr=[[p["accuracy"] - p["accuracy_low"]], [p["accuracy_high"] - p["accuracy"]]],
            color="grey",
            linewidth=0.8,
            capsize=2.5,
            zorder=1,
        )
        axes.annotate(
            numbers[p["placement"]],
            (p["latency_ms"], p["accuracy"]),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=10,
            fontweight="bold",
            zorder=4,
        )
        if not best or p["accuracy"] > best[-1]["accuracy"]:
            best.append(p)
    return best


def _label(axes: Axes, title: str) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("latency, 95th percentile (ms, log scale)")
    axes.set_ylabel("accuracy, with its 95 % interval")
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(visible=True, which="both", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)


def _scale(axes: Axes) -> None:
    """Milliseconds at round numbers, as people write them; the default has 10⁰ for 1."""
    low, high = axes.get_xlim()
    axes.set_xticks(ticks(low, high))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def _name(beside: Axes, points: Sequence[Point]) -> None:
    """The frontier's placements by number, beside the plot."""
    numbers = numbered(points)
    ahead = [p for p in points if p["placement"] in numbers]
    lines = [f"{numbers[p['placement']]}  {p['placement'].partition('/')[2]}" for p in ahead[:NAMED]]
    if len(ahead) > NAMED:
        lines.append(f"… and {len(ahead) - NAMED} more")
    dominated = len(points) - len(ahead)
    lines.append(f"\n{dominated} dominated, drawn small" if dominated else "")
    beside.text(0.0, 1.0, "\n".join(lines), va="top", ha="left", fontsize=8.5, family="monospace")
