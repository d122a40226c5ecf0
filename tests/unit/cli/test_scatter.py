"""The drawing: every point in its place, nothing over a number, never wider than told."""

from __future__ import annotations

from typing import Any

import pytest
from rich.text import Text

from cli.scatter import HEIGHT, MARGIN, NUMBERS, numbered, scatter, ticks


def point(name: str, accuracy: float, latency_ms: float, tier: str = "inline", by: str | None = None) -> dict[str, Any]:
    return {"placement": name, "tier": tier, "accuracy": accuracy, "latency_ms": latency_ms, "dominated_by": by}


def rows(points: list[dict[str, Any]], width: int = 80) -> list[str]:
    """The plot's lines, without axis and legend."""
    drawn = [line.plain for line in scatter(points, width) if isinstance(line, Text)]
    assert all(len(line) <= width for line in drawn)
    return drawn[:HEIGHT]


def find(plot: list[str], mark: str) -> tuple[int, int]:
    (found,) = [(row, line.index(mark, MARGIN)) for row, line in enumerate(plot) if mark in line[MARGIN:]]
    return found


def test_the_fastest_is_left_and_the_most_accurate_on_top() -> None:
    plot = rows([point("a", 0.8, 1.0), point("b", 0.9, 10.0), point("c", 1.0, 100.0)])
    (row_a, a), (row_b, b), (row_c, c) = (find(plot, mark) for mark in "123")
    assert (row_a, row_b, row_c) == (HEIGHT - 1, (HEIGHT - 1) // 2, 0)
    assert c - b == pytest.approx(b - a, abs=1)  # a log scale
    assert plot[0].startswith("1.0000 ┤")
    assert plot[-1].startswith("0.8000 ┤")


def test_the_line_goes_up_where_the_next_is_more_accurate() -> None:
    plot = rows([point("a", 0.8, 1.0), point("b", 0.9, 10.0), point("cheap", 0.85, 20.0)])
    bottom, column = find(plot, "╯")
    assert bottom == find(plot, "1")[0]
    assert column == find(plot, "2")[1]
    assert set(plot[bottom][find(plot, "1")[1] + 1 : column]) == {"╌"}
    assert plot[0].endswith("╌")


def test_marks_of_the_dominated_say_their_tier_and_hide_no_number() -> None:
    points = [
        point("a", 0.9, 1.0),
        point("b", 0.9, 1.0, by="a"),
        point("c", 0.88, 5.0, "process", by="a"),
        point("d", 0.2, 5.0, by="a"),
    ]
    plot = rows(points)
    assert find(plot, "1")[0] == 0
    assert find(plot, "△")[0] not in (0, HEIGHT - 1)
    assert find(plot, "↓")[0] == HEIGHT - 1
    assert not any("○" in line for line in plot)


def test_numbers_in_one_place_stand_side_by_side() -> None:
    plot = rows([point(name, 0.9, 1.0) for name in "abc"] + [point("z", 0.95, 50.0)])
    columns = {mark: find(plot, mark) for mark in "123"}
    assert len(set(columns.values())) == 3
    assert len({row for row, _ in columns.values()}) == 1


@pytest.mark.parametrize("width", [40, 80, 400])
def test_one_point_alone_is_drawn(width: int) -> None:
    plot = rows([point("a", 1.0, 0.03)], width)
    assert find(plot, "1")[0] == HEIGHT // 2


def test_no_points_are_no_drawing() -> None:
    assert scatter([], 80) == []


def test_more_than_there_are_characters_for_share_one() -> None:
    points = [point(str(i), 0.5 + i / 100, 1.0 + i) for i in range(len(NUMBERS) + 2)]
    assert list(numbered(points).values()) == [*NUMBERS, "+", "+"]
    assert sum(line.count("+") for line in rows(points)) == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.3, 7.0, [0.5, 1, 2, 5]),
        (1.0, 100.0, [1, 2, 5, 10, 20, 50, 100]),
        (0.01, 2000.0, [0.01, 0.1, 1, 10, 100, 1000]),
        (0.24, 0.72, [0.3, 0.4, 0.5, 0.7]),
        (44.0, 76.0, [45, 50, 60, 70]),
        (3.1, 3.3, [3.1, 3.2, 3.3]),
        (3.11, 3.19, [3.15]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)
