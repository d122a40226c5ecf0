"""An empty figure to be written as a PNG file, by matplotlib, which nothing else needs; it shows no window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.errors import Failed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES, DPI = (12.0, 6.5), 130


def empty_figure() -> Figure:
    """A figure without axes; raises Failed where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise Failed("--png needs matplotlib; install it with: pip install 'modelless[plot]'") from None
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
