"""Policies compared as a figure in a PNG file, by matplotlib, which nothing else needs; it shows no window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cli.canvas import empty_figure
from cli.figure import MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]

COLOURS = "tab10"


def save_comparison(path: Path, title: str, policies: Sequence[Document]) -> None:
    """Draw effective accuracy over dollars, and below it the first policy's first seed over time; writes `path`.

    Raises Failed without matplotlib, and OSError where the file cannot be written.
    """
    figure = empty_figure()
    above, below = figure.subplots(2, 1, height_ratios=(2, 1))
    _draw_policies(above, policies)
    above.set_title(title, loc="left", fontweight="bold")
    _draw_timeline(below, policies[0])
    figure.savefig(path, format="png")


def _draw_policies(axes: Axes, policies: Sequence[Document]) -> None:
    from matplotlib import colormaps

    colours = colormaps[COLOURS]
    for i, policy in enumerate(policies):
        usd, accuracy = policy["figures"]["usd_per_1k"], policy["figures"]["effective_accuracy"]
        axes.errorbar(
            usd["median"],
            accuracy["median"],
            xerr=_reach(usd),
            yerr=_reach(accuracy),
            fmt=MARKERS[i % len(MARKERS)],
            color=colours(i % colours.N),
            markersize=9,
            capsize=2.5,
            linewidth=0.9,
            label=policy["policy"],
        )
    axes.set_xscale("log" if all(p["figures"]["usd_per_1k"]["low"] > 0 for p in policies) else "linear")
    axes.set_xlabel("US dollars per 1,000 requests")
    axes.set_ylabel("effective accuracy")
    axes.grid(visible=True, which="both", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")


def _reach(figure: Mapping[str, float]) -> list[list[float]]:
    return [[figure["median"] - figure["low"]], [figure["high"] - figure["median"]]]


def _draw_timeline(axes: Axes, policy: Document) -> None:
    """What was asked a second as a line, and by which variants it was answered as areas under it."""
    timeline = policy["timeline"]
    width = timeline["width_s"]
    starts = np.arange(len(timeline["requests"])) * width
    by = {name: np.array(counts) / width for name, counts in timeline["answered_by"].items()}
    if by:
        axes.stackplot(starts, list(by.values()), labels=list(by), step="post", alpha=0.7)
    axes.step(starts, np.array(timeline["requests"]) / width, where="post", color="black", linewidth=0.9, label="asked")
    axes.set_xlabel("seconds")
    axes.set_ylabel("requests a second")
    axes.set_title(f"{policy['policy']}: which variants answered", loc="left", fontsize="medium")
    axes.margins(x=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
