"""From windows to the comparison's rows: medians, intervals and ratios; pure, it starts and sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.harness import Row, interval
from benchmarks.load import Measured
from benchmarks.load_measured import OK
from benchmarks.peer_servers import MINIMAL, OURS, Server

OPEN_LOOP = 0
"""Stands for the open loop where a number of clients is meant."""

OPEN_SHARE = 0.5
"""Share of the slowest peer's capacity that the open loop offers to every server."""

ALONE = "onnxruntime"
"""The model without a server; like our own container and the minimal app, it is no peer."""

FIGURES = ("rps", "p50_ms", "p99_ms")
"""What a window gives, with an interval over the starts."""

DETAILS = ("offered_rps", *(f"{figure}_{end}" for figure in FIGURES for end in ("low", "high")), "starts", "note")
"""Fields that no table has room for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One window's figures."""

    rps: float
    p50_ms: float
    p99_ms: float
    failed: float
    """Share of requests that were refused or got no answer."""
    client_cpu: float
    """The load generator's share of one core."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a server with one model, and its windows by number of clients (OPEN_LOOP for the open loop)."""

    first_answer_s: float
    rss_mb: float
    samples: Mapping[int, Sample]


class Tried(NamedTuple):
    """The capacity of one choice of a server's settings, as one short window with the most clients gave it."""

    server: Server
    model: str
    rps: float


def best(tried: Iterable[Tried]) -> list[Tried]:
    """The quickest choice of each server with each model, in the order of their first tries."""
    found: dict[tuple[str, str], Tried] = {}
    for each in tried:
        key = each.server.name, each.model
        found[key] = max(found.get(key, each), each, key=lambda one: one.rps)
    return list(found.values())


def turns(rounds: int, places: int) -> list[tuple[int, int]]:
    """(round, place) in the order of measuring, both from 0 on: every other round is reversed, so that no place always
    comes first."""
    return [
        (turn, place) for turn in range(rounds) for place in (range(places) if turn % 2 == 0 else range(places)[::-1])
    ]


def open_rate(capacities: Mapping[str, float]) -> float:
    """Requests per second of the open loop: OPEN_SHARE of the slowest peer's capacity, or of the slowest of all where
    no peer was measured.

    Raises ValueError where nothing was.
    """
    peers = [rps for name, rps in capacities.items() if name not in (OURS, MINIMAL)]
    if not capacities:
        raise ValueError("no server answered: there is no capacity to take a share of")
    return OPEN_SHARE * min(peers or capacities.values())


def sample_of(measured: Measured) -> Sample:
    """The figures of a window; raises ValueError where every request was refused."""
    return Sample(
        rps=measured.rps,
        p50_ms=measured.quantile_ms(0.50),
        p99_ms=measured.quantile_ms(0.99),
        failed=float((measured.status != OK).mean()),
        client_cpu=measured.cpu_share,
    )


def alone(model: str, batch: int, times_ms: Sequence[float]) -> Row:
    """The row of a model without a server: runs of `batch` rows on one thread; `rps` is rows per second."""
    return {
        **_row(ALONE, model, "alone", batch, None),
        **_spread("rps", [batch * 1000.0 / each for each in times_ms]),
        **_spread("p50_ms", times_ms),
        "note": f"a run of {batch} rows, 1 thread",
    }


def choice(tried: Tried, clients: int) -> Row:
    """The row of one choice of settings that was tried: its capacity only."""
    found = _row(tried.server.name, tried.model, "tried", clients, None)
    return {**found, "rps": tried.rps, "note": tried.server.note}


def absent(name: str, reason: str) -> Row:
    """The row of a server that does not run here."""
    return {**_row(name, "", "", None, None), "note": f"left out: {reason}"}


def rows_of(server: Server, model: str, starts: Sequence[Start], rate: float) -> list[Row]:
    """The rows of one server and model, over one or more starts: medians, and 95 % intervals of what a window gives."""
    return [_window(server, model, starts, clients, rate) for clients in starts[0].samples]


def compared(rows: Sequence[Row]) -> list[Row]:
    """The rows with each one's ratios to the best peer and to the minimal app of the same model and load."""
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault(_cell(row), []).append(row)
    return [{**row, **_ratios(row, cells[_cell(row)])} for row in rows]


def _window(server: Server, model: str, starts: Sequence[Start], clients: int, rate: float) -> Row:
    samples = [start.samples[clients] for start in starts]
    loop, offered = ("open", rate) if clients == OPEN_LOOP else ("closed", None)
    return {
        **_row(server.name, model, loop, clients or None, offered),
        **_spread("rps", [sample.rps for sample in samples]),
        **_spread("p50_ms", [sample.p50_ms for sample in samples]),
        **_spread("p99_ms", [sample.p99_ms for sample in samples]),
        "rss_mb": interval([start.rss_mb for start in starts])[0],
        "first_answer_s": interval([start.first_answer_s for start in starts])[0],
        "failed": max(sample.failed for sample in samples),
        "client_cpu": interval([sample.client_cpu for sample in samples])[0],
        "starts": len(starts),
        "note": server.note,
    }


def _row(server: str, model: str, loop: str, clients: int | None, offered: float | None) -> dict[str, Any]:
    """A row with every field, in the order of the table; what was not measured is None."""
    figures = [name for figure in FIGURES for name in _spread(figure, [])]
    others = ("rss_mb", "first_answer_s", "rps_of_best_peer", "rps_of_minimal", "p50_of_minimal")
    return {
        "server": server,
        "model": model,
        "loop": loop,
        "clients": clients,
        "offered_rps": offered,
        **dict.fromkeys((*figures, *others, "failed", "client_cpu", "starts", "note")),
    }


def _spread(name: str, values: Sequence[float]) -> dict[str, float | None]:
    names = (name, f"{name}_low", f"{name}_high")
    return dict(zip(names, interval(values) if len(values) else (None,) * 3, strict=True))


def _cell(row: Row) -> tuple[Any, ...]:
    return row["model"], row["loop"], row["clients"]


def _ratios(row: Row, cell: Sequence[Row]) -> dict[str, float | None]:
    """Of closed loops, whose rate is the server's own, rates are compared; of all, median latencies."""
    if row["loop"] not in ("closed", "open"):
        return {}
    minimal = next((other for other in cell if other["server"] == MINIMAL), None)
    found = {"p50_of_minimal": row["p50_ms"] / minimal["p50_ms"] if minimal else None}
    if row["loop"] == "closed":
        best = max((other["rps"] for other in cell if other["server"] not in (OURS, MINIMAL)), default=None)
        found["rps_of_best_peer"] = row["rps"] / best if best else None
        found["rps_of_minimal"] = row["rps"] / minimal["rps"] if minimal and minimal["rps"] else None
    return found
