"""Folders of models: what counts as one, which version is the newest, what model.json may say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.container.repository import Folder
from runtime.errors import ExecutionFailed, InvalidBody

MakeFolder = Callable[[dict[str, bytes]], Path]


def described(folder: Path, document: object) -> None:
    (folder / "model.json").write_text(json.dumps(document))


def test_models_of_one_version_and_of_several(folder_of: MakeFolder) -> None:
    folder = Folder(folder_of({"one": b"a", "two/1": b"b", "two/10": b"c", "two/9": b"d"}))

    assert folder.names() == ["one", "two"]
    assert [v.name for v in folder.versions("one")] == ["1"]
    assert [v.name for v in folder.versions("two")] == ["10", "9", "1"]
    assert folder.head() == folder.head()


def test_versions_by_name_come_after_numbers(folder_of: MakeFolder) -> None:
    folder = Folder(folder_of({"m/a": b"", "m/b": b"", "m/2": b""}))
    assert [v.name for v in folder.versions("m")] == ["2", "b", "a"]


def test_the_only_onnx_file_is_taken_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "resnet.onnx").write_bytes(b"")
    assert len(Folder(tmp_path).versions("m")) == 1

    (tmp_path / "m" / "other.onnx").write_bytes(b"")
    assert Folder(tmp_path).versions("m") == []


def test_numbered_folders_beside_a_graph_are_its_later_versions(folder_of: MakeFolder) -> None:
    root = folder_of({"m": b"one", "m/2": b"two", "m/10": b"ten", "m/parts": b""})
    folder = Folder(root)
    assert folder.names() == ["m"]
    assert [(v.name, v.floor_mb * 2**20) for v in folder.versions("m")] == [("10", 3.0), ("2", 3.0), ("1", 3.0)]
    assert [v.name for v in Folder(root / "m").versions("model")] == ["10", "2", "1"]


def test_what_is_passed_over_is_said(folder_of: MakeFolder, caplog: pytest.LogCaptureFixture) -> None:
    root = folder_of({"m": b"", "m/1": b"", "m/parts": b"", "n/1": b"", "n/2": b"", "o": b"", "o/empty/deeper": b""})
    (root / "m" / "other.onnx").write_bytes(b"")
    for path in ("n", "o"):
        Folder(root).versions(path)
    assert caplog.text == ""
    assert [v.name for v in Folder(root).versions("m")] == ["1"]
    said = [record.args[1] for record in caplog.records if isinstance(record.args, tuple)]
    assert said == [root / "m" / name for name in ("1", "other.onnx", "parts")]


def test_a_folder_can_be_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    folder = Folder(tmp_path)
    assert folder.names() == ["model"]
    assert [v.model for v in folder.versions("model")] == ["model"]
    assert folder.versions("other") == []


@pytest.mark.parametrize("name", ["nope", "", ".", "..", "../models", "a/b", "x" * 200])
def test_what_is_not_there_has_no_versions(folder_of: MakeFolder, name: str) -> None:
    assert Folder(folder_of({"m": b""})).versions(name) == []


def test_folders_without_a_model_are_none(folder_of: MakeFolder) -> None:
    root = folder_of({"m": b""})
    (root / "empty").mkdir()
    (root / ".hidden").mkdir()
    assert Folder(root).names() == ["m"]


def test_a_description_holds_for_every_version_that_has_none_of_its_own(folder_of: MakeFolder) -> None:
    root = folder_of({"m/1": b"", "m/2": b""})
    described(root / "m", {"accuracy": 0.9, "max_batch": 8, "versions": {"2": {"accuracy": 0.95}}})

    two, one = Folder(root).versions("m")

    assert (two.accuracy, two.max_batch) == (0.95, 8)
    assert (one.accuracy, one.max_batch) == (0.9, 8)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "m/model.json must be an object"),
        ({"accuracy": "high"}, "accuracy must be a number from 0 to 1"),
        ({"accuracy": True}, "accuracy must be a number from 0 to 1"),
        ({"accuracy": 1.5}, "accuracy is 1.5"),
        ({"max_batch": 0}, "max_batch must be a whole number from 1"),
        ({"versions": [1]}, "versions must be an object"),
        ({"versions": {"1": 3}}, "versions.1 must be an object"),
    ],
)
def test_a_description_that_says_nothing_sensible_is_refused(
    folder_of: MakeFolder, document: object, message: str
) -> None:
    root = folder_of({"m": b""})
    described(root / "m", document)
    with pytest.raises(InvalidBody, match=message):
        Folder(root).versions("m")


def test_other_bytes_are_another_stamp(folder_of: MakeFolder) -> None:
    root = folder_of({"m": b"a"})
    before = Folder(root).versions("m")
    assert list(before) == list(Folder(root).versions("m"))

    (root / "m" / "model.onnx").write_bytes(b"longer")
    assert list(before) != list(Folder(root).versions("m"))


def test_a_version_opens_its_graph(folder_of: MakeFolder, graphs: Any) -> None:
    folder = Folder(folder_of({"good": graphs.scaled(1.0), "bad": b"no graph"}))

    assert folder.versions("good")[0].open(1).inputs == {"x": ("FP32", (-1, 4))}
    with pytest.raises(ExecutionFailed):
        folder.versions("bad")[0].open(1)
