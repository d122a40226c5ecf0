"""`frontier` asks for the race it was told of, and draws, lists and explains what it is answered."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

Invoke = Callable[..., Result]

SMALL, SLOW, LARGE = "flowers/small@inline:1", "flowers/slow@inline:1", "flowers/large@process-1769:1"


def point(
    placement: str, accuracy: float, latency_ms: float, by: str | None, reason: str, **more: Any
) -> dict[str, Any]:
    return {
        "placement": placement,
        "variant": placement.partition("@")[0],
        "tier": placement.partition("@")[2].partition(":")[0],
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.02,
        "accuracy_high": accuracy + 0.02,
        "latency_ms": latency_ms,
        "cost_usd": 1e-8,
        "load_ms": 12.0,
        "memory_mb": 3.5,
        "dominated_by": by,
        "reason": reason,
        "stale": False,
        **more,
    }


DOCUMENT = {
    "task": "flowers",
    "frontier": [
        point(SMALL, 0.9, 1.0, None, "the fastest"),
        point(
            SLOW, 0.9, 3.0, SMALL, f"{SMALL} is faster, and no worse otherwise; this one loads 3× faster", stale=True
        ),
        point(LARGE, 0.97, 20.0, None, "the most accurate"),
    ],
    "tried": [
        {
            "name": "small-int8",
            "generator": "int8",
            "parent": "small",
            "parameters": {},
            "outcome": "dropped",
            "reason": "no better than small on any axis",
            "numbers": {"p50_ms": 1.25, "accuracy": 0.9, "small.p50_ms": 1.5},
        }
    ],
}


@pytest.fixture
def asked() -> list[httpx.URL]:
    return []


@pytest.fixture
def show(invoke: Invoke, asked: list[httpx.URL]) -> Callable[..., Result]:
    def run(*arguments: str, document: Any = DOCUMENT) -> Result:
        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.url)
            return httpx.Response(200, json=document)

        return invoke("frontier", "flowers", *arguments, obj=httpx.MockTransport(answer))

    return run


def test_it_draws_and_says_who_beats_whom_and_what_was_tried(show: Callable[..., Result]) -> None:
    lines = show().stdout.splitlines()
    assert lines[0] == "flowers: 1 row, warm and resident"
    assert "0.9700 ┤" in lines[1]
    assert "2" in lines[1]
    slow = next(line for line in lines if "slow@inline:1" in line)
    assert "#1 is faster, and no worse otherwise; this one loads 3× faster" in slow
    assert "3.00*" in slow
    assert any("`modelless profile flowers` measures it again" in line for line in lines)
    assert any("0.880–0.920" in line and "the fastest" in line for line in lines)
    tried = next(line for line in lines if "small-int8" in line)
    assert "dropped" in tried
    assert "no better than small on any axis" in tried
    assert "p50_ms 1.25 (1.5), accuracy 0.9" in tried


def test_in_eighty_columns_nothing_is_wider(show: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.output.WIDTH", 80)
    shown = show().stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    assert "load ms" not in shown


def test_only_what_differs_from_the_default_is_asked_for(show: Callable[..., Result], asked: list[httpx.URL]) -> None:
    show()
    title = show("--rows", "8", "--start", "cold", "--tier", "inline").stdout.splitlines()[0]
    assert title == "flowers: 8 rows, from a cold start, on inline"
    assert [str(url.query, "ascii") for url in asked] == ["", "rows=8&start=cold&tier=inline"]


def test_json_is_the_document_alone(show: Callable[..., Result]) -> None:
    assert json.loads(show("--json").stdout) == DOCUMENT


def test_nobody_taking_part_is_said(show: Callable[..., Result]) -> None:
    shown = show(document={"task": "flowers", "frontier": [], "tried": []}).stdout
    assert "No placement that was measured takes part." in shown


def test_a_figure_is_drawn_beside(show: Callable[..., Result], tmp_path: Path) -> None:
    result = show("--png", str(tmp_path / "f.png"), "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == DOCUMENT
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_how_to_get_it(
    show: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib.backends.backend_agg", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    result = show("--png", str(tmp_path / "f.png"))
    assert result.exit_code == 1
    assert "modelless[plot]" in result.stderr
    assert not (tmp_path / "f.png").exists()


def test_a_figure_that_cannot_be_written_is_a_message(show: Callable[..., Result], tmp_path: Path) -> None:
    result = show("--png", str(tmp_path / "nowhere" / "f.png"))
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
