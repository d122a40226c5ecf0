"""What of a registration goes into the blob store, and how it comes back: rows, models, artifacts; no pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.evaluation import Evaluation, load_calibration, load_evaluation
from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.lineage import Sources
from registry.model import Task

Arrays = Mapping[str, NDArray[Any]]


def keep_sources(
    blobs: Blobs, task: Task, evaluation: Evaluation, calibration: Arrays, models: Mapping[str, bytes]
) -> Sources:
    """The rows and the ONNX bytes of a task's registered variants, as blobs.

    Strings are kept in arrays of fixed width, which drop zero bytes at a string's end.
    """
    judged = {**evaluation.inputs, evaluation.output: evaluation.expected}
    return Sources(
        task=task.name,
        evaluation=blobs.put(_archive(judged)),
        calibration=blobs.put(_archive(calibration)) if calibration else None,
        models=tuple((name, blobs.put(model)) for name, model in models.items()),
    )


def kept_evaluation(blobs: Blobs, task: Task, sources: Sources) -> Evaluation:
    """The rows that a task is judged on; raises NotFound, DigestMismatch or InvalidEvaluation."""
    return load_evaluation(blobs.path(sources.evaluation), task)


def kept_calibration(blobs: Blobs, task: Task, sources: Sources) -> dict[str, NDArray[Any]]:
    """The rows that nothing is judged on, empty when there are none; raises as `kept_evaluation` does."""
    return load_calibration(blobs.path(sources.calibration), task) if sources.calibration else {}


def keep_artifact(digest: str, source: Blobs, target: Blobs) -> None:
    """Copy an artifact; its manifest goes last, so that one that can be read is whole."""
    for blob in (*read_manifest(source, digest).digests, digest):
        if not target.has(blob):
            target.put(source.get(blob))


def _archive(arrays: Arrays) -> bytes:
    """The bytes of an .npz file; equal arrays give equal bytes, for its members carry no time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # numpy.savez takes no array of the name `file`
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _storable(array), allow_pickle=False)
    return file.getvalue()


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype("S") if array.dtype.kind == "O" else array
