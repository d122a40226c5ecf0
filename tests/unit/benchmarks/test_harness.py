from __future__ import annotations

import json
import os
import platform
import socket
from pathlib import Path

import pytest

from benchmarks.harness import interleaved, interval, machine, run

ROWS = [{"case": "a", "ms": 1.25, "count": 3}, {"case": "b", "ms": 12345.6, "count": 4}]


def test_run_prints_a_table_and_ends_with_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bool] = []

    def rows(quick: bool) -> list[dict[str, object]]:
        asked.append(quick)
        return ROWS

    assert run("example", rows, ["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert asked == [True]
    assert any("12,346" in line for line in lines)
    assert json.loads(lines[-1]) == {"benchmark": "example", "quick": True, "machine": machine(), "rows": ROWS}


def test_run_writes_the_same_object_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "result.json"
    run("example", lambda quick: ROWS, ["--json", str(file)])
    assert json.loads(file.read_text()) == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads(file.read_text())["quick"] is False


def test_many_columns_stay_whole_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"a_rather_long_column_{i}" for i in range(6)]
    run("wide", lambda quick: [dict.fromkeys(names, 1.0)], [])
    header = capsys.readouterr().out.splitlines()[2]
    assert all(name in header for name in names)


def test_details_stand_in_the_object_only(capsys: pytest.CaptureFixture[str]) -> None:
    run("example", lambda quick: ROWS, [], details=("count",))
    lines = capsys.readouterr().out.splitlines()
    assert not any("count" in line for line in lines[:-1])
    assert json.loads(lines[-1])["rows"] == ROWS


def test_no_rows_are_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("empty", lambda quick: [], []) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == []


def test_interval_is_around_the_median_and_repeatable() -> None:
    samples = [1.0, 2.0, 3.0, 4.0, 100.0]
    median, low, high = interval(samples)
    assert median == 3.0
    assert 1.0 <= low <= median <= high <= 100.0
    assert interval(samples) == (median, low, high)


def test_interval_narrows_with_samples_and_closes_on_a_constant() -> None:
    few, many = interval([1.0, 2.0, 3.0] * 2), interval([1.0, 2.0, 3.0] * 200)
    assert many[2] - many[1] < few[2] - few[1]
    assert interval([7.0]) == (7.0, 7.0, 7.0)


def test_interval_needs_samples() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        interval([])


def test_cases_take_turns_in_alternating_order() -> None:
    calls: list[str] = []

    def case(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    found = interleaved({"a": lambda: case("a"), "b": lambda: case("b")}, 3)
    assert "".join(calls) == "abbaab"
    assert found == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}


def test_machine_names_no_host_and_no_folder() -> None:
    found = machine()
    assert found["python"] == platform.python_version()
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert {"cpu", "numpy", "onnxruntime", "system"} <= found.keys()
    said = json.dumps(found)
    assert socket.gethostname() not in said
    assert "/" not in said
