"""How a load run's plan and what it measured pass between two processes: as NumPy's archives, never as pickles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.load_measured import Measured
from simulator.arrivals import Floats

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What the load generator's process has to do."""

    host: str
    port: int
    requests: Sequence[bytes]
    timeout_s: float
    connections: int
    """Opened before the first request; a closed loop has no others."""
    most_connections: int
    times: Floats | None
    """When to send, in seconds from the start; None in a closed loop."""
    seconds: float
    """Length of the measured window."""
    warm_s: float
    """How long a closed loop sends before it."""

    def write(self, path: Path) -> None:
        """Write the plan to a file."""
        facts = {
            "host": self.host,
            "port": self.port,
            "timeout_s": self.timeout_s,
            "connections": self.connections,
            "most_connections": self.most_connections,
            "seconds": self.seconds,
            "warm_s": self.warm_s,
            "closed": self.times is None,
        }
        text, lengths = _joined(self.requests)
        times = np.empty(0) if self.times is None else self.times
        np.savez(path, facts=_joined([json.dumps(facts).encode()])[0], requests=text, lengths=lengths, times=times)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read the plan that `write` wrote."""
        with np.load(path, allow_pickle=False) as found:
            facts = json.loads(found["facts"].tobytes())
            times = None if facts.pop("closed") else found["times"]
            return cls(requests=_parted(found["requests"], found["lengths"]), times=times, **facts)


def write_measured(measured: Measured, path: Path) -> None:
    """Write what was measured to a file."""
    bodies, lengths = _joined([body for _, body in measured.bodies])
    refused, refused_lengths = _joined(list(measured.refused.values()))
    np.savez(
        path,
        intended=measured.intended,
        sent=measured.sent,
        done=measured.done,
        status=measured.status,
        index=measured.index,
        bodies=bodies,
        body_lengths=lengths,
        body_index=np.array([index for index, _ in measured.bodies], dtype=np.int64),
        refused=refused,
        refused_lengths=refused_lengths,
        refused_status=np.array(list(measured.refused), dtype=np.int64),
        scalars=np.array([measured.cpu_share, measured.seconds]),
    )


def read_measured(path: Path) -> Measured:
    """Read what `write_measured` wrote."""
    with np.load(path, allow_pickle=False) as found:
        bodies = _parted(found["bodies"], found["body_lengths"])
        refused = _parted(found["refused"], found["refused_lengths"])
        cpu_share, seconds = found["scalars"].tolist()
        return Measured(
            intended=found["intended"],
            sent=found["sent"],
            done=found["done"],
            status=found["status"],
            index=found["index"],
            bodies=tuple(zip(found["body_index"].tolist(), bodies, strict=True)),
            refused=dict(zip(found["refused_status"].tolist(), refused, strict=True)),
            cpu_share=cpu_share,
            seconds=seconds,
        )


def _joined(texts: Sequence[bytes]) -> tuple[Bytes, Ints]:
    """All bytes one after another, and the length of each."""
    return np.frombuffer(b"".join(texts), dtype=np.uint8), np.array([len(text) for text in texts], dtype=np.int64)


def _parted(joined: Bytes, lengths: Ints) -> list[bytes]:
    whole, stops = joined.tobytes(), np.cumsum(lengths).tolist()
    return [whole[stop - length : stop] for stop, length in zip(stops, lengths.tolist(), strict=True)]
