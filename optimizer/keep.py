"""What of a registration goes into the blob store, and how it comes back: rows, models, artifacts; no pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.evaluation import Evaluation, check, check_rows, load_arrays
from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.lineage import Sources
from registry.model import Task

Arrays = Mapping[str, NDArray[Any]]

BYTES, ENDS = ":bytes", ":ends"
"""What is appended to the name of an array of strings, for the two that are kept of it."""


def keep_sources(
    blobs: Blobs, task: Task, evaluation: Evaluation, calibration: Arrays, models: Mapping[str, bytes]
) -> Sources:
    """The rows and the ONNX bytes of a task's registered variants, as blobs."""
    judged = {**evaluation.inputs, evaluation.output: evaluation.expected}
    return Sources(
        task=task.name,
        evaluation=blobs.put(_archive(judged)),
        calibration=blobs.put(_archive(calibration)) if calibration else None,
        models=tuple((name, blobs.put(model)) for name, model in models.items()),
    )


def kept_evaluation(blobs: Blobs, task: Task, sources: Sources) -> Evaluation:
    """The rows that a task is judged on; raises NotFound, DigestMismatch or InvalidEvaluation."""
    path = blobs.path(sources.evaluation)
    return check(_joined(load_arrays(path)), task, where=str(path))


def kept_calibration(blobs: Blobs, task: Task, sources: Sources) -> dict[str, NDArray[Any]]:
    """The rows that nothing is judged on, empty when there are none; raises as `kept_evaluation` does."""
    if sources.calibration is None:
        return {}
    path = blobs.path(sources.calibration)
    return check_rows(_joined(load_arrays(path)), task, where=str(path))


def keep_artifact(digest: str, source: Blobs, target: Blobs) -> None:
    """Copy an artifact; its manifest goes last, so that one that can be read is whole."""
    for blob in (*read_manifest(source, digest).digests, digest):
        if not target.has(blob):
            target.put(source.get(blob))


def _archive(arrays: Arrays) -> bytes:
    """The bytes of an .npz file; equal arrays give equal bytes, for its members carry no time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # numpy.savez takes no array of the name `file`
        for name, array in _parted(arrays):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return file.getvalue()


def _parted(arrays: Arrays) -> Iterator[tuple[str, NDArray[Any]]]:
    """Arrays that need no pickle: of strings, their bytes one after another, and where each ends.

    An array of fixed width would take the longest string's room for each, and drop zero bytes at the end.
    """
    for name, array in arrays.items():
        if array.dtype.kind == "O":
            strings = array.ravel().tolist()
            yield name + BYTES, np.frombuffer(b"".join(strings), np.uint8)
            yield name + ENDS, np.cumsum([len(s) for s in strings], dtype=np.int64).reshape(array.shape)
        else:
            yield name, array


def _joined(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of which `_parted` made these."""
    joined = {name: array for name, array in arrays.items() if not name.endswith((BYTES, ENDS))}
    for name, ends in arrays.items():
        if name.endswith(ENDS):
            whole = name.removesuffix(ENDS)
            data, strings = arrays[whole + BYTES].tobytes(), np.empty(ends.size, dtype=object)
            strings[:] = [data[start:end] for start, end in pairwise([0, *ends.ravel().tolist()])]
            joined[whole] = strings.reshape(ends.shape)
    return joined
