"""Small ONNX graphs with known answers, folders of models made of them, and AWS, which an emulator plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from registry.stores.dynamodb_table import DynamoTable

# How fast an example is made or runs is the machine's matter, which is shared.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


class Graphs:
    """Graphs as bytes; each says what it computes of its input x."""

    def linear(self, w: Any, bias: float = 0.0) -> bytes:
        """y = x @ w + bias."""
        from onnx import TensorProto, helper

        return self._bytes(
            [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])],
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", w.shape[0]])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", w.shape[1]])],
            {"w": np.asarray(w, np.float32), "b": np.float32([bias])},
        )

    def scaled(self, factor: float, width: int = 4) -> bytes:
        """y = factor x, row by row."""
        return self.linear(np.eye(width, dtype=np.float32) * np.float32(factor))

    def centred(self, width: int = 4) -> bytes:
        """y = x less the mean of all rows: what a row gives depends on the others."""
        from onnx import TensorProto, helper

        return self._bytes(
            [
                helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
                helper.make_node("Sub", ["x", "m"], ["y"]),
            ],
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])],
            {},
        )

    def picked(self) -> bytes:
        """y = the row x of a table of three; any other index makes the whole run fail."""
        from onnx import TensorProto, helper

        return self._bytes(
            [helper.make_node("Gather", ["rows", "x"], ["y"])],
            [helper.make_tensor_value_info("x", TensorProto.INT64, ["n"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
            {"rows": np.float32([[1, 2], [3, 4], [5, 6]])},
        )

    def echoed(self, kind: int, shape: list[str | int]) -> bytes:
        """y = x, of any type and shape."""
        from onnx import helper

        return self._bytes(
            [helper.make_node("Identity", ["x"], ["y"])],
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("y", kind, shape)],
            {},
        )

    def _bytes(self, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any]) -> bytes:
        from onnx import checker, helper, numpy_helper

        initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
        graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        checker.check_model(model)
        return bytes(model.SerializeToString())


MakeFolder = Callable[[dict[str, bytes]], Path]


@pytest.fixture(scope="session")
def graphs() -> Graphs:
    """Makes graphs."""
    return Graphs()


@pytest.fixture
def folder_of(tmp_path: Path) -> MakeFolder:
    """A folder of models, by their paths in it without model.onnx: `small`, or `small/2` for a version."""

    def make(models: dict[str, bytes]) -> Path:
        root = tmp_path / "models"
        for path, graph in models.items():
            folder = root / path
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(graph)
        return root

    return make


@pytest.fixture(scope="session", autouse=True)
def _models_of_aws_are_read_once() -> Iterator[None]:
    """Each session of botocore reads services' models from disk, a tenth of a second each; tests make hundreds.

    What was read is shared and nothing else, so that no test sees another's credentials or region.
    """
    import botocore.session
    from botocore.loaders import Loader, create_loader

    read: dict[str | None, dict[Any, Any]] = {}

    def sharing(search_path: str | None = None) -> Loader:
        loader = create_loader(search_path)
        loader._cache = read.setdefault(search_path, loader._cache)
        return loader

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(botocore.session, "create_loader", sharing)
        yield


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account as moto plays it, whose table answers one call at a time, and whose buckets many threads ask."""
    from moto import mock_aws
    from moto.s3 import urls

    from benchmarks.fault_client import one_call_at_a_time

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # Reloaded for each call, as it is left alone, it is not there for a moment in which another thread may want it.
    monkeypatch.setattr("moto.s3.models.S3Backend._url_module", urls)
    with one_call_at_a_time(), mock_aws():
        yield


@pytest.fixture
def table(aws: None) -> DynamoTable:
    """The account's table `facts`, empty."""
    import boto3

    from benchmarks.fault_client import make_table

    client = boto3.client("dynamodb")
    make_table(client)
    return DynamoTable("facts", client)
