"""One model in memory: a session, what it takes, and how rows of several requests run together; knows no server.

Where a row is of a size known beforehand, inputs are copied to buffers that the session is bound to: beside the time
of the graph itself such a run costs 5 µs, where one that hands tensors over costs 40.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codecs.binary import from_tensor, to_tensor
from runtime.container.signature import Inputs, Port, Signature
from runtime.errors import ExecutionFailed
from runtime.ort import Bound, OrtSession, Span
from scheduler.work import Measured

MOST_BOUND = 128
"""Most numbers of rows that a session is bound for at a time, at 1.5 KB each: callers choose them."""

BENCH_BYTES = 4 * 2**20
"""Largest of the buffers that a session is bound to; beyond it the copy costs more than the call."""

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Traits:
    """What trying a model out told."""

    max_batch: int = 1
    """Most rows of a run that requests share; 1: rows depend on one another, or it could not be found out."""
    aligned: bool = False
    """Whether each output has a row for each row of the inputs, of the shape that the signature tells."""
    service: Measured = ()
    """Seconds of runs by rows, on the threads of this session."""


class Loaded:
    """A model that is ready to run; several threads may run it at once."""

    def __init__(self, session: OrtSession, signature: Signature, *, private_mb: float) -> None:
        self.session = session
        self.signature = signature
        self.private_mb = private_mb
        self.traits = Traits()
        self._benches: list[Bench] = []
        ports = (*signature.inputs, *signature.outputs)
        self._row_bytes = sum(_row_bytes(port) for port in ports) if all(port.fixed for port in ports) else 0

    def adopt(self, traits: Traits) -> None:
        """Run as these traits allow from now on."""
        self.traits = traits

    def run(self, inputs: Sequence[Inputs], rows: Sequence[int]) -> tuple[list[Outputs], float]:
        """The outputs of each of these requests, run together, and the seconds that the run took.

        Requests have been checked against the signature, are of one form, and of so many rows each. Raises
        ExecutionFailed with ONNX Runtime's reason.
        """
        total = sum(rows) if len(rows) > 1 else rows[0]
        started = time.perf_counter()
        if self._row_bytes and self.traits.aligned and total * self._row_bytes <= BENCH_BYTES:
            outputs = self._run_bound(inputs, total)
        else:
            outputs = self.run_alone(inputs[0] if len(inputs) == 1 else _stacked(inputs))
        took = time.perf_counter() - started
        return ([outputs] if len(inputs) == 1 else _split(outputs, rows)), took

    def run_alone(self, inputs: Inputs) -> Outputs:
        """All outputs of one run."""
        outputs = self.session.run({name: to_tensor(name, array) for name, array in inputs.items()})
        return {port.name: from_tensor(port.name, outputs[port.name]) for port in self.signature.outputs}

    def close(self) -> None:
        """Free its memory now; nobody may be running it."""
        for bench in self._benches:
            bench.close()
        self._benches.clear()
        self.session.close()

    def _run_bound(self, inputs: Sequence[Inputs], total: int) -> Outputs:
        try:
            # Taking from and adding to a list are atomic: a bench is one run's at a time.
            bench = self._benches.pop()
        except IndexError:
            bench = Bench(self.session, self.signature)
        try:
            outputs = bench.run(inputs, total)
        except ExecutionFailed:
            # It may be the bench's fault: a graph can tell wrong shapes of its outputs. If not, this fails as well.
            bench.close()
            outputs = self.run_alone(_stacked(inputs))
            self.traits = replace(self.traits, aligned=False)
            return outputs
        self._benches.append(bench)
        return outputs


class Bench:
    """Buffers for the rows of one run at a time, and the session bound to them for each number of rows."""

    __slots__ = ("_bound", "_capacity", "_inputs", "_outputs", "_ports", "_session")

    def __init__(self, session: OrtSession, signature: Signature) -> None:
        self._session = session
        self._ports = (signature.inputs, signature.outputs)
        self._capacity = 0
        self._bound: dict[int, Bound] = {}
        self._inputs: dict[str, NDArray[Any]] = {}
        self._outputs: dict[str, NDArray[Any]] = {}

    def run(self, inputs: Sequence[Inputs], rows: int) -> Outputs:
        """All outputs of these requests' rows, in memory of their own."""
        bound = self._bound.get(rows) or self._bind(rows)
        for name, buffer in self._inputs.items():
            if len(inputs) == 1:
                buffer[:rows] = inputs[0][name]
            else:
                np.concatenate([request[name] for request in inputs], out=buffer[:rows])
        bound.run()
        return {name: buffer[:rows].copy() for name, buffer in self._outputs.items()}

    def close(self) -> None:
        """Unbind everything."""
        for bound in self._bound.values():
            bound.close()
        self._bound.clear()

    def _bind(self, rows: int) -> Bound:
        if rows > self._capacity:
            self.close()
            self._capacity = 1 << (rows - 1).bit_length()
            self._inputs, self._outputs = (
                {port.name: np.zeros((self._capacity, *port.shape[1:]), port.dtype) for port in side}
                for side in self._ports
            )
        elif len(self._bound) >= MOST_BOUND:
            self._bound.pop(next(iter(self._bound))).close()
        bound = self._session.bind(
            _spans(self._ports[0], self._inputs, rows), _spans(self._ports[1], self._outputs, rows)
        )
        self._bound[rows] = bound
        return bound


def _spans(ports: Sequence[Port], buffers: Mapping[str, NDArray[Any]], rows: int) -> list[Span]:
    return [
        Span(port.name, port.datatype, (rows, *port.shape[1:]), buffer.ctypes.data, buffer[:rows].nbytes)
        for port, buffer in ((port, buffers[port.name]) for port in ports)
    ]


def _row_bytes(port: Port) -> int:
    return int(np.prod(port.shape[1:], dtype=np.int64)) * port.dtype.itemsize if port.fixed else 0


def _stacked(inputs: Sequence[Inputs]) -> Inputs:
    if len(inputs) == 1:
        return inputs[0]
    return {name: np.concatenate([request[name] for request in inputs]) for name in inputs[0]}


def _split(outputs: Outputs, rows: Sequence[int]) -> list[Outputs]:
    parts: list[Outputs] = []
    at = 0
    for count in rows:
        parts.append({name: array[at : at + count] for name, array in outputs.items()})
        at += count
    return parts
