"""`switching` shows what a container would run at which load, from what was measured, and names what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]


def settings(invoke: Invoke, home: Path, *more: str) -> list[dict[str, object]]:
    result = invoke("switching", "flowers", "--tier", "inline", "--home", str(home), "--json", *more)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["task"], document["tier"], document["cores"]) == ("flowers", "inline", 2)
    (deadline,) = document["deadlines"]
    return list(deadline["settings"])


def test_the_most_accurate_serves_low_load_and_the_quickest_high_load(invoke: Invoke, home: Path) -> None:
    low, high = settings(invoke, home, "--deadline-ms", "10")
    assert (low["variant"], low["effective_accuracy"]) == ("large", pytest.approx(0.97))
    assert (high["variant"], high["effective_accuracy"]) == ("small", pytest.approx(0.9))
    assert low["up_to_rows_per_s"] < high["up_to_rows_per_s"]  # type: ignore[operator]
    assert (high["replicas"], high["threads"]) == (2, 1)


def test_a_deadline_that_only_the_quickest_keeps_leaves_no_choice(invoke: Invoke, home: Path) -> None:
    assert [setting["variant"] for setting in settings(invoke, home, "--deadline-ms", "2")] == ["small"]


def test_without_a_deadline_five_are_shown(invoke: Invoke, home: Path) -> None:
    result = invoke("switching", "flowers", "--tier", "inline", "--home", str(home), "--json")
    deadlines = [each["deadline_ms"] for each in json.loads(result.stdout)["deadlines"]]
    assert deadlines == pytest.approx([4.0, 5.2, 6.4, 7.6, 8.8])


def test_the_table_is_for_people(invoke: Invoke, home: Path) -> None:
    result = invoke("switching", "flowers", "--tier", "inline", "--home", str(home), "--deadline-ms", "10")
    assert "flowers on 2 cores of inline" in result.output
    assert "large" in result.output
    assert "2 × 1" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flower", "--tier", "inline"], "did you mean 'flowers'"),
        (["flowers", "--tier", "inlin"], "did you mean 'inline'"),
        (["flowers", "--tier", "inline", "--deadline-ms", "0"], "--deadline-ms: 0 is no deadline"),
        (["flowers", "--tier", "inline", "--deadline-ms", "nan"], "--deadline-ms: nan is no deadline"),
    ],
)
def test_what_cannot_be_shown(invoke: Invoke, home: Path, arguments: list[str], message: str) -> None:
    result = invoke("switching", *arguments, "--home", str(home))
    assert result.exit_code == 2
    assert message in result.output
