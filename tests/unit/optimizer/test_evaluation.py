"""Held-out rows are checked against the task before anything is run on them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from optimizer.errors import InvalidEvaluation
from optimizer.evaluation import Evaluation, check, check_apart, load_calibration, load_evaluation, split
from registry.model import Task, TensorSpec

TASK = Task(
    "t",
    (TensorSpec("x", "FP32", (-1, 2)),),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("score", "FP32", (-1,))),
    "accuracy",
)
X = np.arange(10, dtype=np.float32).reshape(5, 2)
LABEL = np.arange(5)


def test_a_file_is_read_by_the_tasks_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "eval.npz", x=X, label=LABEL)
    evaluation = load_evaluation(tmp_path / "eval.npz", TASK)
    assert (evaluation.rows, evaluation.output) == (5, "label")
    np.testing.assert_array_equal(evaluation.inputs["x"], X)


def test_batches_start_over_when_the_rows_run_out() -> None:
    evaluation = check({"x": X, "label": LABEL}, TASK)
    np.testing.assert_array_equal(evaluation.batch(7, start=3)["x"], X[[3, 4, 0, 1, 2, 3, 4]])


def test_strings_become_bytes() -> None:
    task = Task("t", (TensorSpec("s", "BYTES", (-1,)),), (TensorSpec("label", "BYTES", (-1,)),), "accuracy")
    evaluation = check({"s": np.array(["é", "b"]), "label": np.array([b"x", b"y"])}, task)
    assert evaluation.inputs["s"].tolist() == ["é".encode(), b"b"]
    assert evaluation.expected.tolist() == [b"x", b"y"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"label": LABEL}, "x: is missing"),
        ({"x": X}, "holds 0 of the outputs"),
        ({"x": X, "label": LABEL, "score": LABEL}, "holds 2 of the outputs"),
        ({"x": X, "label": LABEL[:4]}, "arrays of [4, 5] rows"),
        ({"x": X[:0], "label": LABEL[:0]}, "arrays of [0] rows"),
        ({"x": X.astype(np.float64), "label": LABEL}, "its dtype is float64"),
        ({"x": np.full_like(X, np.nan), "label": LABEL}, "NaN"),
        ({"x": X, "score": np.array([1, 2, np.nan, 4, 5], np.float32)}, "score: holds NaN"),
        ({"x": X, "label": LABEL.astype(str)}, "label: holds strings and the output is INT64"),
    ],
)
def test_what_does_not_fit_is_named(arrays: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(InvalidEvaluation) as caught:
        check(arrays, TASK)
    assert message in str(caught.value)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "eval.npz", x=np.array([object()]), label=LABEL)
    with pytest.raises(InvalidEvaluation, match=r"eval\.npz: x: is an array of Python objects, .*astype\(str\)"):
        load_evaluation(tmp_path / "eval.npz", TASK)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "eval.npz").write_bytes(b"PK not a zip")
    with pytest.raises(InvalidEvaluation, match="cannot be read"):
        load_evaluation(tmp_path / "eval.npz", TASK)
    with pytest.raises(InvalidEvaluation, match="cannot be read"):
        load_evaluation(tmp_path / "missing.npz", TASK)


def test_a_small_file_of_large_arrays_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = np.zeros((10_000, 2), np.float32)
    np.savez_compressed(tmp_path / "packed.npz", x=zeros, label=np.zeros(10_000, np.int64))
    np.savez(tmp_path / "plain.npz", x=zeros, label=np.zeros(10_000, np.int64))
    assert load_evaluation(tmp_path / "packed.npz", TASK).rows == 10_000
    monkeypatch.setattr("optimizer.evaluation.MOST_UNPACKED", 100_000)
    with pytest.raises(InvalidEvaluation, match=r"packed\.npz: unpacks to 160\d{3} bytes, more than 100000"):
        load_evaluation(tmp_path / "packed.npz", TASK)
    assert load_evaluation(tmp_path / "plain.npz", TASK).rows == 10_000


def test_an_array_under_the_wrong_ending_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "eval.npy", X)
    (tmp_path / "eval.npy").rename(tmp_path / "eval.npz")
    with pytest.raises(InvalidEvaluation, match="cannot be read"):
        load_evaluation(tmp_path / "eval.npz", TASK)


def test_damage_anywhere_is_refused_or_harmless(tmp_path: Path) -> None:
    file = tmp_path / "eval.npz"
    np.savez_compressed(file, x=X, label=LABEL)
    good = file.read_bytes()
    refused = 0
    for at in range(len(good)):
        for value in (0, 87, 255):
            file.write_bytes(good[:at] + bytes([value]) + good[at + 1 :])
            try:
                load_evaluation(file, TASK)
            except InvalidEvaluation:
                refused += 1
    assert refused > len(good)


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"no array",
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000, 2), }".ljust(117)
        + b"\n",
    ],
)
def test_a_member_that_is_no_array_or_a_lie_is_refused(tmp_path: Path, member: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "eval.npz", "w") as archive:
        archive.writestr("x.npy", member)
        archive.writestr("label.npy", b"")
    with pytest.raises(InvalidEvaluation):
        load_evaluation(tmp_path / "eval.npz", TASK)


def of_rows(n: int) -> Evaluation:
    return check({"x": np.arange(2 * n, dtype=np.float32).reshape(n, 2), "label": np.arange(n)}, TASK)


@pytest.mark.parametrize(("rows", "aside"), [(128, 32), (541, 135), (10_000, 512)])
def test_rows_set_aside_are_never_judged_on(rows: int, aside: int) -> None:
    judged, calibration = split(of_rows(rows))
    assert (judged.rows, len(calibration["x"])) == (rows - aside, aside)
    np.testing.assert_array_equal(judged.inputs["x"][:, 0], 2 * judged.expected)
    assert not set(calibration["x"][:, 0]) & set(judged.inputs["x"][:, 0])
    assert judged.rows >= rows * 2 / 3


def test_the_same_rows_are_set_aside_each_time() -> None:
    first, second, other = split(of_rows(200)), split(of_rows(200)), split(of_rows(200), seed=1)
    np.testing.assert_array_equal(first[1]["x"], second[1]["x"])
    assert not np.array_equal(first[1]["x"], other[1]["x"])


def test_few_rows_are_all_judged_on() -> None:
    evaluation = of_rows(127)
    judged, calibration = split(evaluation)
    assert judged is evaluation
    assert calibration == {}


def test_calibration_needs_no_answers(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=X)
    np.testing.assert_array_equal(load_calibration(tmp_path / "rows.npz", TASK)["x"], X)
    np.savez(tmp_path / "rows.npz", label=LABEL)
    with pytest.raises(InvalidEvaluation, match=r"rows.npz: x: is missing"):
        load_calibration(tmp_path / "rows.npz", TASK)


def test_rows_that_are_judged_on_calibrate_nothing() -> None:
    task = Task("t", (*TASK.inputs, TensorSpec("s", "BYTES", (-1,))), TASK.outputs, "accuracy")
    texts = np.array(["a", "b", "c", "d", "e"])
    evaluation = check({"x": X, "s": texts, "label": LABEL}, task)
    for rows in ([0, 1, 2, 3, 4], [3, 1]):
        with pytest.raises(InvalidEvaluation, match="calibration: holds nothing but rows of the evaluation"):
            check_apart(evaluation, {"s": evaluation.inputs["s"][rows], "x": X[rows]})
    check_apart(evaluation, {"x": X[[0, 1]], "s": evaluation.inputs["s"][[0, 2]]})
