"""ONNX is taken from files and from memory; other files are refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from optimizer.errors import NotConvertible
from optimizer.sources import convert
from registry.errors import InvalidValue

X = np.ones((3, 2), np.float32)


@pytest.fixture
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n, 2] a, float[n, 2] b) => (float[n, 2] c) { c = Add(a, b) }'
    )


def test_a_path_bytes_and_a_proto_are_the_same_model(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "adds.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    for form in (path, str(path), path.read_bytes(), model):
        converted = convert(form, (X, X))
        assert converted.onnx == path.read_bytes()
        assert set(converted.rows) == {"a", "b"}
        assert converted.recipe.generator == "import"


def test_arrays_are_matched_by_name(model: onnx.ModelProto) -> None:
    with pytest.raises(InvalidValue, match=r"X\['b'\]: is missing; X has \['a', 'B'\]|X has \['B', 'a'\]"):
        convert(model, {"a": X, "B": X})
    with pytest.raises(InvalidValue, match=r"X: is one array, and the model has 2 inputs; give X as a mapping"):
        convert(model, X)
    with pytest.raises(InvalidValue, match=r"X\['bb'\]: is no input of the model; did you mean b\?"):
        convert(model, {"a": X, "b": X, "bb": X})


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.PT", "net.pth"])
def test_no_pickle_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"cos\nsystem\n(S'echo oops'\ntR.")
    with pytest.raises(NotConvertible, match=r"runs whatever code is in it; none is ever read; give an \.onnx file"):
        convert(path, X)


def test_other_files_are_for_their_own_library(tmp_path: Path) -> None:
    with pytest.raises(NotConvertible, match=r"is a \.keras file, which only its own library reads"):
        convert(tmp_path / "model.keras", X)
    with pytest.raises(NotConvertible, match="cannot be read \\(No such file"):
        convert(tmp_path / "model.onnx", X)
