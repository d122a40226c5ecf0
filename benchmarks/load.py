"""The load generator: a process of its own that sends HTTP requests and times the answers; it judges nothing.

python -m benchmarks.load --url http://127.0.0.1:8080/v2/models/m/infer --body FILE --rate 500 --seconds 10
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.arrivals import Floats
from benchmarks.load_measured import Measured

__all__ = ["Measured", "Target", "closed_loop", "open_loop", "post"]

CONNECTIONS = 64
MOST_CONNECTIONS = 1024
TIMEOUT_S = 30.0


class Target(NamedTuple):
    """Where requests go: a plain HTTP/1.1 server."""

    host: str
    port: int


def post(target: Target, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a whole POST request; Host and Content-Length are added, Content-Type is JSON unless given."""
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError
