"""The load generator: a process of its own that sends HTTP requests and times the answers; it judges nothing.

python -m benchmarks.load --url http://127.0.0.1:8080/v2/models/m/infer --body FILE --rate 500 --seconds 10
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from benchmarks.harness import Row, run
from benchmarks.load_client import MEASURED, PLAN
from benchmarks.load_files import Plan, read_measured
from benchmarks.load_measured import OK, Measured
from simulator.arrivals import Floats, modulated, poisson, scaled, window
from simulator.replay import FORMATS, recording

__all__ = ["Measured", "Target", "closed_loop", "open_loop", "post"]

CONNECTIONS = 64
MOST_CONNECTIONS = 1024
TIMEOUT_S = 30.0

WARM_S = 1.0
"""How long the command's closed loop sends before it measures."""

GRACE_S = 60.0
"""How much longer than its plan the load generator may take to start, connect and write."""

ROOT = Path(__file__).resolve().parents[1]


class Target(NamedTuple):
    """Where requests go: a plain HTTP/1.1 server."""

    host: str
    port: int


def post(target: Target, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a whole POST request; Host and Content-Length are added, Content-Type is JSON unless given.

    Raises ValueError for a path or header that would break the request's head.
    """
    host = f"[{target.host}]" if ":" in target.host else target.host
    given = {"Content-Type": "application/json", **{name.title(): value for name, value in (headers or {}).items()}}
    fields = {"Host": f"{host}:{target.port}", **given, "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if not path.startswith("/") or " " in path:
        raise ValueError(f"{path!r} is no path of a URL")
    for line in lines:
        if not line.isascii() or not line.isprintable():
            raise ValueError(f"{line!r} cannot stand in a request's head")
    return "\r\n".join((*lines, "", "")).encode() + body


def closed_loop(
    target: Target,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float,
    warm_s: float,
    timeout_s: float = TIMEOUT_S,
) -> Measured:
    """Let each of `clients` connections send the next request as soon as it has its answer; measure after `warm_s`.

    Requests are taken in turn. Raises ValueError for arguments that make no sense and RuntimeError where the target
    cannot be reached at first.
    """
    if not 0.0 < seconds < math.inf or not 0.0 <= warm_s < math.inf:
        raise ValueError(f"seconds must be positive and warm_s not negative: {seconds}, {warm_s}")
    return _carried_out(
        Plan(
            host=target.host,
            port=target.port,
            requests=requests,
            timeout_s=timeout_s,
            connections=clients,
            most_connections=clients,
            times=None,
            seconds=seconds,
            warm_s=warm_s,
        )
    )


def open_loop(
    target: Target,
    requests: Sequence[bytes],
    times: Floats,
    *,
    connections: int = CONNECTIONS,
    most_connections: int = MOST_CONNECTIONS,
    timeout_s: float = TIMEOUT_S,
) -> Measured:
    """Send request i modulo `len(requests)` at `times[i]` seconds, whatever became of the ones before.

    Latency and `timeout_s` count from the intended time. `connections` are opened before the first request; another
    is opened whenever all are busy, up to `most_connections`; then requests wait, and their wait counts. Raises
    ValueError for arguments that make no sense and RuntimeError where the target cannot be reached at first.
    """
    due = np.ascontiguousarray(times, dtype=np.float64)
    if not len(due) or not np.isfinite(due).all() or due[0] < 0.0 or (np.diff(due) < 0.0).any():
        raise ValueError("times must be some ascending seconds from 0 on")
    return _carried_out(
        Plan(
            host=target.host,
            port=target.port,
            requests=requests,
            timeout_s=timeout_s,
            connections=connections,
            most_connections=max(most_connections, connections),
            times=due,
            seconds=float(due[-1]),
            warm_s=0.0,
        )
    )


def _carried_out(plan: Plan) -> Measured:
    """What a process of its own measured."""
    if not plan.requests or plan.connections < 1 or not 0.0 < plan.timeout_s < math.inf:
        raise ValueError("a load needs a request, a connection and a positive timeout")
    with tempfile.TemporaryDirectory() as folder:
        plan.write(Path(folder) / PLAN)
        command = [sys.executable, "-m", "benchmarks.load_client", folder]
        limit_s = plan.warm_s + plan.seconds + plan.timeout_s + GRACE_S
        try:
            ended = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired as fault:
            raise RuntimeError(f"the load generator did not end within {limit_s:.0f} s") from fault
        if ended.returncode:
            raise RuntimeError(f"the load generator failed: {ended.stderr.strip()}")
        return read_measured(Path(folder) / MEASURED)


TRACES = tuple(name.replace("_", "-") for name in FORMATS)
"""Formats of `--trace`: the arrivals of all functions together."""


def main(argv: Sequence[str] | None = None) -> int:
    """Load a server as the command line says and print what was measured."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        target, path = _split(options.url)
        headers = dict(_header(text) for text in options.header)
        requests = [post(target, path, body.read_bytes(), headers) for body in options.body]
        times = None if options.clients is not None else _times(options)
    except (ValueError, OSError) as fault:
        parser.error(str(fault))

    def rows(quick: bool) -> Sequence[Row]:
        del quick
        if times is None:
            asked = {"seconds": options.seconds, "warm_s": WARM_S, "timeout_s": options.timeout}
            return [_row(closed_loop(target, requests, clients=options.clients, **asked))]
        return [_row(open_loop(target, requests, times, timeout_s=options.timeout))]

    return run("load", rows, [] if options.json is None else ["--json", str(options.json)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description="Load a server and time its answers")
    parser.add_argument("--url", required=True, help="http://host:port/path to POST to")
    parser.add_argument("--body", required=True, action="append", type=Path, metavar="FILE", help="repeat: in turn")
    parser.add_argument("--header", default=[], action="append", metavar="'NAME: VALUE'")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--clients", type=int, metavar="N", help="closed loop: each sends when it has its answer")
    how.add_argument("--rate", type=float, action="append", metavar="R", help="open loop: a second; mmpp: repeat")
    how.add_argument("--trace", type=Path, metavar="FILE", help="open loop: replay this file")
    parser.add_argument("--process", choices=("poisson", "mmpp"), default="poisson", help="of --rate")
    parser.add_argument("--stay", type=float, default=1.0, metavar="S", help="mean seconds of a state of mmpp")
    parser.add_argument("--format", choices=TRACES, help="of --trace")
    parser.add_argument("--faster", type=float, default=1.0, metavar="F", help="replay a trace F times as fast")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result to FILE")
    return parser


def _times(options: argparse.Namespace) -> Floats:
    times = _drawn(options)
    if not len(times):
        raise ValueError("no request is due within --seconds")
    return times


def _drawn(options: argparse.Namespace) -> Floats:
    if options.trace is not None:
        if options.format is None:
            raise ValueError("--trace needs --format")
        recorded = recording(options.format.replace("-", "_"), options.trace)
        traced = recorded.times(until_s=options.seconds * options.faster, seed=options.seed)
        return window(scaled(traced, options.faster), 0.0, options.seconds)
    if options.process == "mmpp":
        return modulated(options.rate, options.stay, options.seconds, seed=options.seed).times
    if len(options.rate) > 1:
        raise ValueError("several rates need --process mmpp")
    return poisson(options.rate[0], options.seconds, seed=options.seed)


def _split(url: str) -> tuple[Target, str]:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ValueError(f"{url!r} is no http:// URL")
    path = parts.path or "/"
    return Target(parts.hostname, parts.port or 80), f"{path}?{parts.query}" if parts.query else path


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is no header: 'NAME: VALUE'")
    return name.strip(), value.strip()


def _row(measured: Measured) -> Row:
    """What a user wants to know; a latency without an end is no number, so it is none."""
    statuses = measured.statuses
    served = bool(statuses.keys() & {0, OK})
    quantiles = {f"p{q:g}_ms": _finite(measured.quantile_ms(q / 100)) if served else None for q in (50, 90, 99, 99.9)}
    return {
        "requests": len(measured.status),
        "ok_rps": measured.rps,
        **quantiles,
        "unanswered": statuses.get(0, 0),
        "refused": sum(count for status, count in statuses.items() if status not in (0, OK)),
        "lag_p99_ms": _finite(float(np.quantile(measured.lag_ms, 0.99, method="inverted_cdf"))),
        "client_cpu": measured.cpu_share,
        "seconds": measured.seconds,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    raise SystemExit(main())
