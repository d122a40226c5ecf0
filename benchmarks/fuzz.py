"""Requests in bad faith against a running `modelless up`: statuses, hangs and memory; it judges no answer's content.

Half of what is sent schemathesis draws from the API's own OpenAPI document, obeying it and breaking it; the rest is a
hostile corpus: broken JSON and tensors, lying lengths, bombs of images, strange paths and heads, and bytes that are no
HTTP. All of it is real HTTP over loopback, in rounds, and sent three times: what is bounded fills, and the allocator
comes to its height, in the first two, and what memory does when the same comes once more is growth.

`hangs` counts answers later than their deadline (a strict caller's bound, the tier's timeout, or ten seconds where
nothing runs) and a second. `unanswered` counts requests whose connection ended without a word. `faults` counts every
5xx but a 503 that the operation declares and a 504 that says a deadline passed, which `no_time` counts. Memory is the
gateway's resident set, at the end of an operation's share of the first round and of the last; `filling_mb_per_10k` and
`mb_per_10k` are its slopes over all shares of the first two times and of the last.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from benchmarks.fuzz_client import Tally, send
from benchmarks.fuzz_corpus import BYTES, Case, cases, warming
from benchmarks.fuzz_home import make
from benchmarks.fuzz_schema import drawn
from benchmarks.harness import Row, run
from cli.running import running
from gateway.http.openapi import OPERATIONS

ROUNDS = 5
"""That all cases are dealt to."""

TIMES = 3
"""That all cases are sent."""

CONNECTIONS = 8

DRAWN = 400
"""Of each operation from the document, in each of two modes."""

CORPUS: dict[str, int] = {
    "predict": 9000,
    "infer": 9000,
    "plan": 4000,
    "feedback": 4000,
    "frontier": 3000,
    "submitJob": 1500,
    BYTES: 6000,
}
"""Hostile cases of an operation; OTHER of each that is not named."""

OTHER = 800

QUICK_SHARE = 20
"""A quick run sends one of so many."""


def rows(quick: bool) -> list[Row]:
    """One row per operation, and one of all."""
    share = QUICK_SHARE if quick else 1
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make(home)
        rounds = _rounds(drawn(Path(folder), DRAWN // share), share)
        with running(home) as up:
            return _played(up.url, up.pid, rounds)


def _rounds(of_schema: list[Case], share: int) -> list[dict[str, list[Case]]]:
    """The cases of each operation, dealt to the rounds, in an order drawn from a seed."""
    random, found = Random(0), dict[str, list[Case]]()
    for operation in [o.name for o in OPERATIONS] + [BYTES]:
        corpus = islice(cases(operation, random), CORPUS.get(operation, OTHER) // share)
        found[operation] = [*corpus, *(case for case in of_schema if case.operation == operation)]
        random.shuffle(found[operation])
    return [{name: all_[turn::ROUNDS] for name, all_ in found.items()} for turn in range(ROUNDS)]


def _played(url: str, pid: int, rounds: list[dict[str, list[Case]]]) -> list[Row]:
    tallies: dict[str, Tally] = {}
    resident: list[tuple[int, str, float]] = []
    """(cases so far, operation whose share ended, MB)."""
    sent = 0
    address, process = urlsplit(url), psutil.Process(pid)
    asyncio.run(send(str(address.hostname), int(address.port or 80), warming(Random(1)), {}, CONNECTIONS))
    for turn in rounds * TIMES:
        for operation, share in turn.items():
            asyncio.run(send(str(address.hostname), int(address.port or 80), share, tallies, CONNECTIONS))
            sent += len(share)
            resident.append((sent, operation, process.memory_info().rss / 1e6))
        print(f"{sent} cases, {resident[-1][2]:.0f} MB", file=sys.stderr, flush=True)
    for tally in tallies.values():
        _show(tally)
    found = [_row(name, [tally], [mb for _, o, mb in resident if o == name]) for name, tally in tallies.items()]
    whole = _row("all", list(tallies.values()), [mb for _, _, mb in resident[len(rounds[0]) - 1 :]])
    last = len(resident) // TIMES
    slopes = {"filling_mb_per_10k": _slope(resident[:-last]), "mb_per_10k": _slope(resident[-last:])}
    return [row | (slopes if row is whole else dict.fromkeys(slopes)) for row in [*found, whole]]


def _slope(resident: list[tuple[int, str, float]]) -> float:
    """MB for each 10,000 cases."""
    return float(np.polyfit([at for at, _, _ in resident], [mb for _, _, mb in resident], 1)[0]) * 1e4


def _row(operation: str, tallies: list[Tally], resident: list[float]) -> dict[str, Any]:
    statuses = sum((tally.statuses for tally in tallies), start=type(tallies[0].statuses)())
    seconds = [s for tally in tallies for s in tally.seconds]
    faults = sum(not _declared(status, case) for tally in tallies for status, case, _ in tally.faults)
    return {
        "operation": operation,
        "cases": sum(statuses.values()) + sum(len(tally.hangs) for tally in tallies),
        "statuses": " ".join(f"{status or 'closed'}:{count}" for status, count in sorted(statuses.items())),
        "faults": faults,
        "no_time": statuses[504],
        "hangs": sum(len(tally.hangs) for tally in tallies),
        "unanswered": sum(len(tally.unanswered) for tally in tallies),
        "p99_ms": float(np.percentile(seconds, 99)) * 1e3,
        "rss_start_mb": resident[0],
        "rss_end_mb": resident[-1],
    }


def _declared(status: int, case: Case) -> bool:
    """Whether the document says that the operation may answer so, and the service means it."""
    refusals = next((o.refusals for o in OPERATIONS if o.name == case.operation), ())
    return status in (503, 504) and (status in refusals or case.operation == BYTES)


def _show(tally: Tally, most: int = 3) -> Any:
    """Tell what went wrong, for whoever is to mend it."""
    for status, case, body in [f for f in tally.faults if not _declared(f[0], f[1])][:most]:
        print(f"{status} {case.raw[:600]!r} -> {body!r}", file=sys.stderr)
    for word, found in (("hang", tally.hangs), ("unanswered", tally.unanswered)):
        for case in found[:most]:
            print(f"{word} {case.raw[:600]!r}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(run("fuzz", rows))
