"""Draws a real run: latencies as a CDF, and load and variants over time; it measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.virtual import Outcomes
from simulator.arrivals import Arrivals

SHOWN = ("modelless", "model_switching", "infaas", "oracle")


def draw(
    folder: Path, arrivals: Arrivals, deadline_s: float, runs: Mapping[str, Outcomes], accuracy: Mapping[str, float]
) -> None:
    """Write switching_cdf.png and switching_timeline.png."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    _cdf(folder / "switching_cdf.png", deadline_s, runs)
    _timeline(folder / "switching_timeline.png", arrivals, runs, accuracy)


def _cdf(path: Path, deadline_s: float, runs: Mapping[str, Outcomes]) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, outcomes in runs.items():
        latency = np.sort(np.array(outcomes.latency)) * 1e3
        share = np.arange(1, len(latency) + 1) / len(latency)
        axes.plot(latency[np.isfinite(latency)], share[np.isfinite(latency)], label=name)
    axes.axvline(deadline_s * 1e3, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlabel="latency (ms); dashed: the deadline", ylabel="share of all requests", xlim=(0, deadline_s * 2e3))
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _timeline(path: Path, arrivals: Arrivals, runs: Mapping[str, Outcomes], accuracy: Mapping[str, float]) -> None:
    from matplotlib import pyplot

    shown = [name for name in SHOWN if name in runs]
    seconds = np.arange(int(arrivals.times[-1]) + 1)
    figure, panes = pyplot.subplots(len(shown) + 1, 1, figsize=(9, 2 + 1.6 * len(shown)), sharex=True)
    panes[0].plot(seconds, np.bincount(arrivals.times.astype(int), minlength=len(seconds)), color="black")
    panes[0].set_ylabel("requests/s")
    names = sorted(accuracy, key=lambda variant: accuracy[variant])
    for pane, name in zip(panes[1:], shown, strict=True):
        answered = np.zeros((len(names), len(seconds)))
        for arrived, variant in zip(runs[name].arrived, runs[name].variant, strict=True):
            if variant is not None:
                answered[names.index(variant), int(arrived)] += 1
        pane.stackplot(seconds, answered, labels=names)
        pane.set_ylabel(name, fontsize=8)
    panes[1].legend(fontsize=6, ncols=len(names), loc="upper right")
    panes[-1].set_xlabel("seconds; answered by variant, light to heavy")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
