"""A frontier as a drawing of characters: accuracy over latency, or over dollars, on a log scale; it only draws.

The known library for this was not taken: plotext 6 is compiled for some platforms, untyped and takes 0.2 s to import.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.padding import Padding
    from rich.text import Text

Point = Mapping[str, Any]
Cell = tuple[int, int]
"""Row from the top, and column."""

HEIGHT = 15
WIDTH = 110
"""Most columns: wider, and the eye no longer finds its line."""

MARGIN = 9
"""Columns left of the plot: an accuracy and the axis."""

GLYPHS = "○△□◇▽☆✕"
"""A dominated placement's mark, by tier; more tiers than these share them again."""

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red", "white")

SHOWN_BELOW = 0.5
"""How far under the frontier's accuracies the plot reaches, in parts of their range: what lies further down is off."""

STEPS = (
    (1.0,),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0),
    tuple(n / 10 for n in range(10, 100)),
)
"""Round numbers of one decade, ever more of them."""

FEWEST_TICKS = 4

LEAST = 1e-6
"""A logarithm is taken of no less."""

LEAST_RANGE = 0.05
"""A frontier of nearly one accuracy counts as this wide there."""

NUMBERS = "123456789abcdefghijklmnopqrstuvwxyz"
"""What stands for the frontier's placements in the plot; further ones get a `+`."""


def numbered(points: Sequence[Point]) -> dict[str, str]:
    """The frontier's placements by id, each with its character, fastest first."""
    ahead = [p["placement"] for p in points if not p["dominated_by"]]
    return {name: NUMBERS[i] if i < len(NUMBERS) else "+" for i, name in enumerate(ahead)}


def scatter(points: Sequence[Point], width: int) -> list[Text | Padding]:
    """The drawing in lines of at most `width` columns; none without points.

    The frontier's placements are numbered and coloured by tier, the others are dim marks, and a dotted line is the best
    accuracy that is to be had within each latency.
    """
    if not points:
        return []
    plot = Plot.around(points, min(width, WIDTH) - MARGIN)
    tiers = sorted({p["tier"] for p in points})
    style = {tier: COLOURS[i % len(COLOURS)] for i, tier in enumerate(tiers)}
    glyph = {tier: GLYPHS[i % len(GLYPHS)] for i, tier in enumerate(tiers)}
    numbers = numbered(points)
    ahead = [p for p in points if p["placement"] in numbers]
    for p in points:
        if p["dominated_by"]:
            below = p["accuracy"] < plot.low
            plot.put(plot.cell(p), "↓" if below else glyph[p["tier"]], f"dim {style[p['tier']]}")
    plot.stairs(map(plot.cell, ahead))
    for p in ahead:
        plot.put(plot.free(plot.cell(p)), numbers[p["placement"]], f"bold {style[p['tier']]}", taken=True)
    return [*plot.lines(), *_legend(tiers, style, glyph)]


@dataclass(slots=True)
class Plot:
    """Cells of a plot, and the scales of its axes."""

    width: int
    low: float
    high: float
    """Accuracies of the lowest and the highest line."""
    left: float
    right: float
    """log10 of what the first and the last column stand for."""
    unit: str
    cells: dict[Cell, tuple[str, str]] = field(default_factory=dict)
    """Cell to its character and style."""
    taken: set[Cell] = field(default_factory=set)

    @classmethod
    def around(cls, points: Sequence[Point], width: int) -> Plot:
        """An empty plot that holds all points, but for those that are far less accurate than the frontier."""
        accuracies = [p["accuracy"] for p in points]
        ahead = [p["accuracy"] for p in points if not p["dominated_by"]]
        high = max(accuracies)
        low = max(min(accuracies), min(ahead) - SHOWN_BELOW * max(high - min(ahead), LEAST_RANGE))
        if high - low < 1e-9:
            low, high = low - 0.005, high + 0.005
        return cls.over([p["latency_ms"] for p in points], low, high, width, "ms, p95")

    @classmethod
    def over(cls, values: Sequence[float], low: float, high: float, width: int, unit: str) -> Plot:
        """An empty plot with room for these values (of `unit`) across, and for accuracies from `low` to `high`."""
        logs = [math.log10(max(value, LEAST)) for value in values]
        pad = 0.04 * (max(logs) - min(logs)) or 0.3
        return cls(max(width, 10), low, high, min(logs) - pad, max(logs) + pad, unit)

    def cell(self, point: Point) -> Cell:
        """Where a point lies."""
        return self.at(point["latency_ms"], point["accuracy"])

    def at(self, value: float, accuracy: float) -> Cell:
        """The cell of a value and an accuracy; what is beyond the plot is at its edge."""
        return self.row(accuracy), self.column(math.log10(max(value, LEAST)))

    def row(self, accuracy: float) -> int:
        """The line of an accuracy."""
        share = (self.high - accuracy) / (self.high - self.low)
        return min(HEIGHT - 1, max(0, round(share * (HEIGHT - 1))))

    def column(self, log: float) -> int:
        """The column of a value's logarithm."""
        share = (log - self.left) / (self.right - self.left)
        return min(self.width - 1, max(0, round(share * (self.width - 1))))

    def put(self, cell: Cell, mark: str, style: str, *, taken: bool = False) -> None:
        """Have a cell show a mark; no number is put over one that is taken."""
        self.cells[cell] = (mark, style)
        if taken:
            self.taken.add(cell)

    def free(self, cell: Cell) -> Cell:
        """The cell, or the nearest one beside it that no number has taken."""
        row, column = cell
        beside = ((row, column + d) for step in range(self.width) for d in (step, -step))
        return next((c for c in beside if 0 <= c[1] < self.width and c not in self.taken), cell)

    def stairs(self, ahead: Iterable[Cell]) -> None:
        """The line of the best accuracy up to each column, under every other mark."""
        best: list[Cell] = []
        for row, column in sorted(ahead, key=lambda cell: (cell[1], cell[0])):
            if not best or row < best[-1][0]:
                best.append((row, column))
        for i, (row, column) in enumerate(best):
            end = best[i + 1][1] if i + 1 < len(best) else self.width
            for x in range(column + 1, end):
                self.cells.setdefault((row, x), ("╌", "dim"))
            if i + 1 < len(best):
                self.cells.setdefault((row, end), ("╯", "dim"))
                for y in range(best[i + 1][0] + 1, row):
                    self.cells.setdefault((y, end), ("╎", "dim"))

    def lines(self) -> list[Text]:
        """The drawing, with its axes."""
        from rich.text import Text

        labels = {round(i * (HEIGHT - 1) / 4): self.high - (self.high - self.low) * i / 4 for i in range(5)}
        drawn = []
        for row in range(HEIGHT):
            text = Text(f"{labels[row]:.4f} ┤" if row in labels else " " * (MARGIN - 2) + "│", no_wrap=True)
            text.pad_left(max(0, MARGIN - 1 - len(text)))
            for column in range(self.width):
                mark, style = self.cells.get((row, column), (" ", ""))
                text.append(mark, style)
            drawn.append(text)
        return [*drawn, *self._axis()]

    def _axis(self) -> list[Text]:
        from rich.text import Text

        line, names, end = ["─"] * self.width, [" "] * self.width, -1
        unit = self.unit
        for value in ticks(10**self.left, 10**self.right):
            column = self.column(math.log10(value))
            name = f"{value:g}"
            start = max(0, min(column - len(name) // 2, self.width - len(name)))
            line[column] = "┴"
            if start > end + 1 and start + len(name) < self.width - len(unit):
                names[start : start + len(name)] = name
                end = start + len(name)
        names[self.width - len(unit) :] = unit
        left = " " * (MARGIN - 2)
        return [Text(left + "└" + "".join(line)), Text(left + " " + "".join(names), style="dim")]


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones for a log axis: as few to a decade as give it FEWEST_TICKS at least."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in STEPS:
        made = [step * 10.0**decade for decade in decades for step in steps]
        found = [float(f"{ms:.3g}") for ms in made if low <= ms * (1 + 1e-9) and ms <= high * (1 + 1e-9)]
        if len(found) >= FEWEST_TICKS:
            break
    return found or [float(f"{math.sqrt(low * high):.3g}")]


def _legend(tiers: Sequence[str], style: Mapping[str, str], glyph: Mapping[str, str]) -> list[Padding]:
    from rich.padding import Padding
    from rich.text import Text

    marks = Text("   ").join(Text(f"{glyph[tier]} {tier}", style[tier]) for tier in tiers)
    key = "numbers: on the frontier, listed below; marks: dominated; ╌ best accuracy within a latency"
    return [Padding(said, (0, 0, 0, MARGIN)) for said in (marks, Text(key, "dim"))]
