"""Held-out rows with their right answers, and rows without; checks that they fit a task, and never runs anything."""

from __future__ import annotations

import hashlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidEvaluation
from registry.model import Task, TensorSpec
from runtime.codecs.tensors import check_inputs
from runtime.errors import InvalidTensor

_UNREADABLE = (
    *(OSError, ValueError, EOFError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, struct.error),
)
"""What zipfile and numpy.load raise for files that are damaged, or that promise more than there is."""

MOST_UNPACKED = 1 << 32
"""Bytes that a smaller file may unpack to: 7,000 images of ImageNet's size. Four megabytes can hold as many zeros."""

CALIBRATION_SHARE = 0.25
"""Of the rows, where a registration brings none of its own: three quarters are left to judge by, and an interval that
shrinks with the root of their number is wider by a seventh."""

MOST_CALIBRATION = 512
"""Static quantisation settles within some hundred rows (ONNX Runtime's own examples take 100 to 500)."""

LEAST_CALIBRATION = 32
"""Ranges taken from fewer rows clip what comes later, and judging by few rows needs all of them."""

SEED = 0
"""Of the rows that are set aside, so that a task registered again is judged on the same ones."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Inputs by name, and what one output should be; axis 0 of every array is the row."""

    inputs: Arrays
    output: str
    expected: NDArray[Any]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.expected)

    def batch(self, rows: int, start: int = 0) -> dict[str, NDArray[Any]]:
        """`rows` rows of every input from row `start` on, over again from the first when the rows run out."""
        index = (start + np.arange(rows)) % self.rows
        return {name: array[index] for name, array in self.inputs.items()}


def load_evaluation(path: Path, task: Task) -> Evaluation:
    """The evaluation in an `.npz` file: one array per input of the task, and one named after one of its outputs.

    Raises InvalidEvaluation naming the array and the fix; nothing in the file is ever unpickled.
    """
    return check(load_arrays(path), task, where=str(path))


def load_calibration(path: Path, task: Task) -> dict[str, NDArray[Any]]:
    """The inputs in an `.npz` file, one array per input of the task; raises InvalidEvaluation."""
    return check_rows(load_arrays(path), task, where=str(path))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an `.npz` file, never unpickled; raises InvalidEvaluation."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            _check_unpacked(archive, path)
            arrays = {name: _member(archive, name, path) for name in archive.files}
    except InvalidEvaluation:
        raise
    except _UNREADABLE as fault:
        raise InvalidEvaluation(str(path), f"cannot be read ({fault})", "write it with numpy.savez") from fault
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # a member of the archive that is no .npy file
            raise InvalidEvaluation(f"{path}: {name}", "is no array", "write the file with numpy.savez")
    return arrays


def _member(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> Any:
    try:
        return archive[name]
    except ValueError as fault:
        if "allow_pickle" not in str(fault):
            raise
        problem = "is an array of Python objects, which is a pickle, and none is ever read"
        fix = "save strings as array.astype(str), and numbers in a numeric dtype"
        raise InvalidEvaluation(f"{path}: {name}", problem, fix) from fault


def _check_unpacked(archive: np.lib.npyio.NpzFile, path: Path) -> None:
    """Raise InvalidEvaluation for a file that is small and its arrays large; no member gives more than it declares."""
    unpacked = sum(member.file_size for member in archive.zip.infolist()) if archive.zip else 0
    if unpacked > max(MOST_UNPACKED, path.stat().st_size):
        problem = f"unpacks to {unpacked} bytes, more than {MOST_UNPACKED}"
        raise InvalidEvaluation(str(path), problem, "give fewer rows, or write it with numpy.savez, uncompressed")


def split(evaluation: Evaluation, seed: int = SEED) -> tuple[Evaluation, dict[str, NDArray[Any]]]:
    """The rows to judge by, and inputs to calibrate and teach with: disjoint, and the same ones each time.

    A quantiser takes its ranges, and a student its answers, from the rows that it is given. Judged on those it would
    look better than it is on rows to come, so whoever has seen a row is never judged on it. An evaluation of fewer
    than LEAST_CALIBRATION / CALIBRATION_SHARE rows stays whole, and there is nothing to calibrate with.
    """
    rows = min(MOST_CALIBRATION, int(evaluation.rows * CALIBRATION_SHARE))
    if rows < LEAST_CALIBRATION:
        return evaluation, {}
    order = np.random.default_rng(seed).permutation(evaluation.rows)
    aside, judged = np.sort(order[:rows]), np.sort(order[rows:])
    rest = Evaluation(_at(evaluation.inputs, judged), evaluation.output, evaluation.expected[judged])
    return rest, _at(evaluation.inputs, aside)


def check_apart(evaluation: Evaluation, calibration: Arrays) -> None:
    """Raise InvalidEvaluation when every calibration row is judged on, too; a few that are alike may be by chance."""
    judged = set(_digests(evaluation.inputs))
    if all(digest in judged for digest in _digests(calibration)):
        fix = "give other rows, or leave them out and some are set aside"
        raise InvalidEvaluation("calibration", "holds nothing but rows of the evaluation, which it would flatter", fix)


def check(arrays: Arrays, task: Task, *, where: str = "evaluation") -> Evaluation:
    """These arrays as an evaluation of a task; raises InvalidEvaluation."""
    inputs = check_rows(arrays, task, where=where)
    answers = [spec.name for spec in task.outputs if spec.name in arrays and spec.name not in inputs]
    if len(answers) != 1:
        names = [spec.name for spec in task.outputs]
        raise InvalidEvaluation(where, f"holds {len(answers)} of the outputs {names}", "give the right answers of one")
    expected = _as_bytes(arrays[answers[0]])
    _check_lengths((*inputs.values(), expected), where)
    _check_answers(next(spec for spec in task.outputs if spec.name == answers[0]), expected, where)
    return Evaluation(inputs, answers[0], expected)


def check_rows(arrays: Arrays, task: Task, *, where: str = "calibration") -> dict[str, NDArray[Any]]:
    """The inputs of a task among these arrays, rows alike; raises InvalidEvaluation."""
    inputs = {spec.name: _input(arrays, spec, where) for spec in task.inputs}
    _check_lengths(inputs.values(), where)
    try:
        check_inputs(task.inputs, inputs)
    except InvalidTensor as fault:
        raise InvalidEvaluation(where, str(fault), "write the inputs as the task declares them") from fault
    return inputs


def _check_lengths(arrays: Iterable[NDArray[Any]], where: str) -> None:
    lengths = {len(array) if array.ndim else 0 for array in arrays}
    if len(lengths) != 1 or lengths == {0}:
        raise InvalidEvaluation(where, f"has arrays of {sorted(lengths)} rows", "give each the same rows, at least one")


def _digests(arrays: Arrays) -> Iterator[bytes]:
    """Of each row, whatever its inputs are."""
    ordered = [array for _, array in sorted(arrays.items())]
    for row in zip(*ordered, strict=True):
        hasher = hashlib.blake2b(digest_size=16)
        for part in map(np.asarray, row):
            # Strings are objects, which have no bytes of their own.
            hasher.update(repr(part.tolist()).encode() if part.dtype.kind in "OS" else part.tobytes())
        yield hasher.digest()


def _at(arrays: Arrays, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    return {name: array[rows] for name, array in arrays.items()}


def _check_answers(spec: TensorSpec, expected: NDArray[Any], where: str) -> None:
    """Refuse answers that no variant can give: every one of them would be measured as useless."""
    if (expected.dtype.kind == "O") != (spec.datatype == "BYTES"):
        held = "strings" if expected.dtype.kind == "O" else expected.dtype
        problem, fix = f"holds {held} and the output is {spec.datatype}", "write answers of the output's kind"
    elif expected.dtype.kind == "f" and not np.isfinite(expected).all():
        problem, fix = "holds NaN or infinities", "leave out rows without an answer"
    else:
        return
    raise InvalidEvaluation(f"{where}: {spec.name}", problem, fix)


def _input(arrays: Arrays, spec: TensorSpec, where: str) -> NDArray[Any]:
    if spec.name not in arrays:
        raise InvalidEvaluation(f"{where}: {spec.name}", "is missing", f"add the array; the file has {sorted(arrays)}")
    return _as_bytes(arrays[spec.name])


def _as_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """Strings as object arrays of `bytes`, the form of BYTES tensors, which an .npz cannot hold without pickle."""
    if array.dtype.kind not in "SU":
        return array
    strings = np.empty(array.size, dtype=object)
    strings[:] = [s.encode() if isinstance(s, str) else bytes(s) for s in array.ravel()]
    return strings.reshape(array.shape)
