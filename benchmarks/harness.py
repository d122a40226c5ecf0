"""One way to run and report a benchmark; it measures nothing itself and never prints a host name or a path."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from simulator.intervals import RESAMPLES, interval

__all__ = ["RESAMPLES", "Row", "interleaved", "interval", "machine", "run"]

Row = Mapping[str, Any]
"""One line of a benchmark's result; every row of a benchmark has the same fields, and values are JSON-able."""

LIBRARIES = ("numpy", "onnxruntime")
"""Packages whose version a result depends on."""


def run(
    name: str,
    rows: Callable[[bool], Sequence[Row]],
    argv: Sequence[str] | None = None,
    *,
    details: Collection[str] = (),
) -> int:
    """Run benchmark `name`: print its rows as a table, then one JSON object as the last line of output; return 0.

    `rows(quick)` measures. `argv` (default: the command line) may hold `--quick` and `--json FILE`, which gets the
    same object. The table leaves the fields named in `details` to the object.
    """
    options = _options(name, argv)
    measured = [dict(row) for row in rows(options.quick)]
    _print_table(name, [{field: row[field] for field in row if field not in details} for row in measured])
    result = json.dumps({"benchmark": name, "quick": options.quick, "machine": machine(), "rows": measured})
    if options.json is not None:
        options.json.write_text(result + "\n")
    print(result)
    return 0


def interleaved(cases: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Call every case `repeats` times, taking turns, and return what each returned.

    Turns share slow drifts of the machine between the cases; the order reverses on every other round, so that no case
    always runs first.
    """
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats):
        for name in list(cases) if turn % 2 == 0 else list(cases)[::-1]:
            samples[name].append(cases[name]())
    return samples


def machine() -> dict[str, Any]:
    """What a result depends on: CPU model and cores, Python and library versions; no names of hosts or folders."""
    return {
        "cpu": _cpu_model(),
        "cores": _cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{library: found for library in LIBRARIES if (found := _version(library)) is not None},
    }


def _options(name: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, to end within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result to FILE")
    return parser.parse_args(argv)


def _print_table(name: str, rows: Sequence[Row]) -> None:
    table = Table(title=name)
    for column in rows[0] if rows else ():
        numeric = isinstance(rows[0][column], int | float)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    # Where the output is no terminal, rich would cut columns at 80 characters.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)


def _cell(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1000 else _whole(value)


def _whole(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, float) else str(value)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
