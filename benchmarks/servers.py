"""Which HTTP server carries the gateway: the real application over a fake backend, one process and one loop each.

The candidates are uvicorn (uvloop, httptools) and granian (its Rust runtime, uvloop); granian is not a dependency and
its rows are left out where it is not installed.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.harness import Row, interleaved, run
from benchmarks.http_client import HttpClient
from benchmarks.overhead import rate, timed

APPLICATION = "benchmarks.servers:application"
UVICORN = (
    "-m uvicorn --loop uvloop --http httptools --ws none --lifespan off --no-access-log --no-server-header"
    " --timeout-keep-alive 75"
)
GRANIAN = "-m granian --interface asginl --loop uvloop --workers 1 --no-ws"
SERVERS = {
    name: [*options.split(), "--factory", APPLICATION, "--log-level", "error"]
    for name, options in (("uvicorn", UVICORN), ("granian", GRANIAN))
}
BODIES = {"1 row": 1, "64 rows": 64}
WARM_UP = 50


def application() -> Any:
    """The gateway's application over one fake placement that answers at once."""
    from benchmarks.synthetic import TASK, catalogue
    from gateway.app import create_app
    from gateway.backends.fake import FakeBackend, steady
    from gateway.metrics import Metrics
    from gateway.service import Service
    from gateway.snapshots import Snapshots

    facts = catalogue(12)
    outputs = {spec.name: np.zeros((1, 10), np.float32) for spec in facts.tasks[TASK].outputs}
    snapshots = Snapshots(facts)
    backends = {
        name: FakeBackend(tier, emit=snapshots.emit, answer=lambda invocation: outputs, timing=steady(run_ms=0.0))
        for name, tier in facts.tiers.items()
    }
    metrics = Metrics(backends)
    return create_app(Service(snapshots, backends, observers=[metrics.observe]), metrics=metrics)


def rows(quick: bool) -> Sequence[Row]:
    """One row for each server and body."""
    from benchmarks.synthetic import TASK, catalogue

    repeats, seconds = (500, 2.0) if quick else (5000, 10.0)
    spec = catalogue(1).tasks[TASK].inputs[0]
    names = [name for name in SERVERS if find_spec(name) is not None]
    measured: list[Row] = []
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(_serving(SERVERS[name])) for name in names}
        clients = {name: stack.enter_context(HttpClient(url)) for name, url in urls.items()}
        for label, count in BODIES.items():
            extents = [count, *(extent if extent > 0 else 64 for extent in spec.shape[1:])]
            body = json.dumps({"inputs": np.zeros(extents).tolist()}).encode()
            requests = {name: client.request(f"/v1/tasks/{TASK}/predict", body) for name, client in clients.items()}
            measured += _measure(label, clients, urls, requests, repeats=repeats, seconds=seconds)
    return measured


def _measure(
    label: str,
    clients: dict[str, HttpClient],
    urls: dict[str, str],
    requests: dict[str, bytes],
    *,
    repeats: int,
    seconds: float,
) -> list[Row]:
    for name, client in clients.items():
        for _ in range(WARM_UP):
            client.send(requests[name])
    sends = {name: partial(client.send, requests[name]) for name, client in clients.items()}
    samples = interleaved({name: partial(timed, send) for name, send in sends.items()}, repeats)
    return [
        {
            "server": name,
            "body": label,
            "p50_ms": float(np.median(samples[name])),
            "p99_ms": float(np.quantile(samples[name], 0.99)),
            "rps": rate(urls[name], requests[name], seconds),
        }
        for name in clients
    ]


@contextlib.contextmanager
def _serving(command: list[str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)])
    try:
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start")


if __name__ == "__main__":
    raise SystemExit(run("servers", rows))
