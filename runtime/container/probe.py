"""Tries a model out when it is loaded: whether requests may share its runs, and how long runs take; never serves.

Requests may share a run where rows together give what each gives alone. That cannot be read off a graph: it is asked
of the graph itself, with random rows. What it answers differently, if only by the scale that a dynamic quantisation
takes from the whole batch, is never shared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.container.loaded import Loaded, Outputs, Traits
from runtime.container.signature import Port
from runtime.errors import ExecutionFailed
from runtime.tensor import MAX_ELEMENTS
from scheduler.work import Measured

ROWS = 3
"""Rows of a trial: enough that each has others on both sides."""

EXTENTS = (8, 32, 224, 1)
"""What an extent that may be any is tried as: lengths of texts, sides of images."""

TOLERANCE = 1e-4
"""How far a row may differ from itself alone, of the output's largest magnitude: kernels sum in other orders for other
numbers of rows, which costs FP32 some 1e-6."""

TRIAL_S = 0.1
"""Longest that measuring runs may take, for a first answer within a second of the start."""

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Rows of the runs that are measured."""

REPEATS = 5


def try_out(loaded: Loaded, *, max_batch: int, declared: bool, timed: bool = True) -> Traits:
    """What `loaded` does with rows of several requests, up to `max_batch` of them, and how long it takes if `timed`.

    Where no trial input runs (indices that are out of range, say), requests share runs only if that was `declared`.
    """
    for rows in _trials(loaded):
        try:
            traits = _traits(loaded, rows, max_batch)
        except ExecutionFailed:
            continue
        loaded.adopt(traits)
        return replace(traits, service=_measured(loaded, rows, traits.max_batch)) if timed else traits
    return Traits(max_batch if declared and loaded.signature.batched else 1)


def _trials(loaded: Loaded) -> Iterator[dict[str, NDArray[Any]]]:
    """Random inputs of ROWS rows, or of what the signature fixes; the next ones in case that these do not run."""
    ports = loaded.signature.inputs
    for extent in EXTENTS:
        shapes = [_shape(port, extent) for port in ports]
        # What no request may bring need not be tried: of several axes of any extent, it could be more than there is.
        if all(math.prod(shape) <= MAX_ELEMENTS for shape in shapes):
            generator = np.random.default_rng(0)
            yield {port.name: _random(port, shape, generator) for port, shape in zip(ports, shapes, strict=True)}
        if not any(-1 in port.shape[1:] or (port.shape and not port.batched) for port in ports):
            return


def _shape(port: Port, extent: int) -> tuple[int, ...]:
    return tuple(ROWS if i == 0 and want == -1 else extent if want == -1 else want for i, want in enumerate(port.shape))


def _random(port: Port, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
    kind = port.dtype.kind
    if kind == "f":
        return generator.normal(size=shape).astype(port.dtype)
    if kind == "O":
        return np.array([f"word {i}".encode() for i in range(math.prod(shape))], object).reshape(shape)
    # Small, for whole numbers are indices as often as not.
    return generator.integers(0, 2, size=shape).astype(port.dtype)


def _traits(loaded: Loaded, rows: Mapping[str, NDArray[Any]], max_batch: int) -> Traits:
    together = loaded.run_alone(rows)
    if not loaded.signature.batched or not all(array.shape[:1] == (ROWS,) for array in together.values()):
        return Traits()
    # Where none are to be shared, one run shows how outputs are shaped: the others could take seconds.
    tried = ROWS if max_batch > 1 else 1
    alone = [loaded.run_alone({name: array[i : i + 1] for name, array in rows.items()}) for i in range(tried)]
    aligned = all(array.shape[:1] == (1,) for one in alone for array in one.values())
    same = aligned and tried == ROWS and _keep_to_themselves(loaded, rows, together, alone)
    shapes = {port.name: port for port in loaded.signature.outputs}
    aligned &= all(shapes[name].shape[1:] == array.shape[1:] for name, array in together.items())
    return Traits(max_batch if same else 1, aligned)


def _keep_to_themselves(
    loaded: Loaded, rows: Mapping[str, NDArray[Any]], together: Outputs, alone: Sequence[Outputs]
) -> bool:
    """Whether each row gives beside others what it gives alone, wherever among them it is."""
    backwards = loaded.run_alone({name: np.ascontiguousarray(array[::-1]) for name, array in rows.items()})
    return all(
        _same(together[name][i], alone[i][name][0], together[name])
        and _same(backwards[name][ROWS - 1 - i], alone[i][name][0], together[name])
        for name in together
        for i in range(ROWS)
    )


def _same(row: NDArray[Any], alone: NDArray[Any], together: NDArray[Any]) -> bool:
    if row.shape != alone.shape:
        return False
    if row.dtype.kind != "f":
        return bool(np.array_equal(row, alone))
    finite = np.abs(together[np.isfinite(together)])
    scale = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(row, alone, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True))


def _measured(loaded: Loaded, rows: Mapping[str, NDArray[Any]], max_batch: int) -> Measured:
    """Medians and worst of a few runs each, by rows; the first of each size is left out, for it touches memory."""
    measured = []
    began = time.perf_counter()
    largest = max((array.size // ROWS for array in rows.values()), default=0)
    for size in SIZES if loaded.signature.batched else (1,):
        if size > max(1, max_batch) or (size > ROWS and size * largest > MAX_ELEMENTS):
            break
        inputs = {name: np.resize(array, (size, *array.shape[1:])) for name, array in rows.items()}
        if not loaded.signature.batched:
            inputs = dict(rows)
        first = loaded.run([inputs], [size])[1]
        repeats = REPEATS if first < TRIAL_S else 1
        took = sorted(loaded.run([inputs], [size])[1] for _ in range(repeats))
        measured.append((size, took[repeats // 2], took[-1]))
        # The next takes at most twice as long.
        if time.perf_counter() - began + 2 * (REPEATS + 1) * took[-1] > TRIAL_S:
            break
    return tuple(measured)
