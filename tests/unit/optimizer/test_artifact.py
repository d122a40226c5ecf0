"""Models to artifacts: equal outputs, equal bytes for equal models, shared tensors, refused inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer import artifact
from optimizer.artifact import EXTERNAL_FROM_BYTES, Optimise, make_artifact
from optimizer.generate.compile_ import optimise
from registry.artifacts import read_manifest
from registry.blobs import blob_name, digest_of
from registry.blobs.files import Files
from registry.errors import InvalidValue
from runtime.session import Session

FLOAT = TensorProto.FLOAT


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    """An empty blob store."""
    return Files(tmp_path)


def value(name: str, *shape: int | str, kind: int = FLOAT) -> Any:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any], **extra: Any) -> Any:
    """A ModelProto of one graph."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10, **extra)


def weight(name: str, *shape: int, seed: int = 0) -> Any:
    """A random FP32 initializer."""
    return numpy_helper.from_array(np.random.default_rng(seed).normal(size=shape).astype(np.float32) / 8, name)


def mlp(hidden: int = 32) -> Any:
    """A perceptron whose bias and activation fusions the optimiser finds, and whose small constants fold."""
    return model(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"]),
            helper.make_node("Add", ["a", "b1"], ["b"]),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("Identity", ["w2"], ["w2_again"]),
            helper.make_node("MatMul", ["c", "w2_again"], ["d"]),
            helper.make_node("Softmax", ["d"], ["y"]),
        ],
        [value("x", "n", 64)],
        [value("y", "n", 10)],
        [weight("w1", 64, hidden), weight("b1", hidden, seed=1), weight("w2", hidden, 10, seed=2)],
    )


def convolution() -> Any:
    """A convolution with batch normalisation, which folds into its weights."""
    ones = [numpy_helper.from_array(np.full(8, v, np.float32), n) for n, v in (("s", 2), ("o", 1), ("m", 0), ("v", 4))]
    return model(
        [
            helper.make_node("Conv", ["x", "k"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["a", "s", "o", "m", "v"], ["b"]),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["y"]),
        ],
        [value("x", "n", 4, 9, 9)],
        [value("y", "n", 8, 1, 1)],
        [weight("k", 8, 4, 3, 3), *ones],
    )


def branches() -> Any:
    """An If whose branches hold weights of their own."""

    def branch(name: str, seed: int) -> Any:
        node = helper.make_node("MatMul", ["x", f"w_{name}"], [f"y_{name}"])
        return helper.make_graph(
            [node], name, [], [value(f"y_{name}", "n", 32)], [weight(f"w_{name}", 64, 32, seed=seed)]
        )

    zero = numpy_helper.from_array(np.float32(0), "zero")
    return model(
        [
            helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
            helper.make_node("Greater", ["total", "zero"], ["positive"]),
            helper.make_node("If", ["positive"], ["y"], then_branch=branch("then", 1), else_branch=branch("else", 2)),
        ],
        [value("x", "n", 64)],
        [value("y", "n", 32)],
        [zero],
    )


@pytest.mark.parametrize(("make", "shape"), [(mlp, (3, 64)), (convolution, (2, 4, 9, 9)), (branches, (3, 64))])
@pytest.mark.parametrize("prepack", [False, True])
@pytest.mark.parametrize("when", Optimise)
def test_an_artifact_computes_what_its_model_computes(
    blobs: Files, make: Any, shape: Any, prepack: bool, when: Optimise
) -> None:
    source = make().SerializeToString()
    x = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    model_itself = ort.InferenceSession(source, providers=["CPUExecutionProvider"])

    session = Session.open(blobs, make_artifact(source, blobs, optimise=when), threads=1, prepack=prepack)

    for sign in (1, -1):
        (expected,) = model_itself.run(None, {"x": sign * x})
        np.testing.assert_allclose(session.run({"x": sign * x})["y"], expected, rtol=1e-4, atol=1e-6)


def test_equal_models_give_equal_artifacts_and_others_do_not(blobs: Files) -> None:
    source = mlp().SerializeToString()

    assert make_artifact(source, blobs) == make_artifact(source, blobs)
    assert make_artifact(source, blobs) != make_artifact(mlp(33).SerializeToString(), blobs)


def test_only_what_is_optimised_at_load_says_so(blobs: Files) -> None:
    source = mlp().SerializeToString()
    manifests = {when: read_manifest(blobs, make_artifact(source, blobs, optimise=when)) for when in Optimise}

    assert {when: manifest.optimised for when, manifest in manifests.items()} == {
        Optimise.NOW: True,
        Optimise.AT_LOAD: False,
        Optimise.NEVER: True,
    }
    assert manifests[Optimise.AT_LOAD].digests == manifests[Optimise.NEVER].digests
    assert manifests[Optimise.NOW].graph != manifests[Optimise.NEVER].graph


def test_bytes_that_are_final_stay_as_they_are(blobs: Files) -> None:
    source = mlp().SerializeToString()

    compiled = make_artifact(optimise(source), blobs, optimise=Optimise.NEVER)

    assert compiled == make_artifact(source, blobs)


def test_large_tensors_are_blobs_of_their_own_and_small_ones_stay(blobs: Files) -> None:
    manifest = read_manifest(blobs, make_artifact(mlp().SerializeToString(), blobs))
    graph = onnx.load_from_string(blobs.get(manifest.graph))

    assert {t.nbytes for t in manifest.tensors} == {64 * 32 * 4, 32 * 10 * 4}
    assert len(blobs.get(manifest.graph)) < 2000
    for tensor in graph.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            fields = {entry.key: entry.value for entry in tensor.external_data}
            (blob,) = (t for t in manifest.tensors if t.name == tensor.name)
            assert fields == {"location": blob_name(blob.digest), "offset": "0", "length": str(blob.nbytes)}
            assert not tensor.raw_data
        else:
            assert numpy_helper.to_array(tensor).nbytes < EXTERNAL_FROM_BYTES


def test_models_that_share_a_tensor_store_it_once(blobs: Files) -> None:
    first, second = mlp(), mlp()
    second.graph.node.append(helper.make_node("Neg", ["y"], ["z"]))
    second.graph.output[0].name = "z"

    digests = [make_artifact(m.SerializeToString(), blobs) for m in (first, second)]

    tensors = [{t.digest for t in read_manifest(blobs, digest).tensors} for digest in digests]
    assert digests[0] != digests[1]
    assert tensors[0] == tensors[1] == {digest_of(w.raw_data) for w in (first.graph.initializer[i] for i in (0, 2))}


def external() -> Any:
    """A model whose weights lie in a file elsewhere."""
    made = mlp()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return made


def external_in_a_branch() -> Any:
    """The same, hidden in a subgraph."""
    made = branches()
    tensor = made.graph.node[-1].attribute[0].g.initializer[0]
    tensor.external_data.add(key="location", value="../weights")
    return made


def external_in_a_constant() -> Any:
    """The same, hidden in a node's attribute."""
    constant = weight("c", 64, 4)
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="weights")
    return model(
        [helper.make_node("Constant", [], ["c"], value=constant), helper.make_node("MatMul", ["x", "c"], ["y"])],
        [value("x", "n", 64)],
        [value("y", "n", 4)],
        [],
    )


def sequence_output() -> Any:
    """A model that answers with a sequence, as skl2onnx's ZipMap does."""
    output = helper.make_tensor_sequence_value_info("y", FLOAT, None)
    return model([helper.make_node("SequenceConstruct", ["x"], ["y"])], [value("x", "n", 64)], [output], [])


def unknown_operator() -> Any:
    """A model with an operator that nobody has."""
    made = model(
        [helper.make_node("Frobnicate", ["x"], ["y"], domain="example.org")], [value("x", "n")], [value("y", "n")], []
    )
    made.opset_import.append(helper.make_opsetid("example.org", 1))
    return made


def dangling() -> Any:
    """A model with a node that reads what nobody writes."""
    return model([helper.make_node("Relu", ["nowhere"], ["y"])], [value("x", "n")], [value("y", "n")], [])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (external, "tensor 'w1' is external"),
        (external_in_a_branch, "tensor 'w_"),
        (external_in_a_constant, "tensor 'c' is external"),
        (sequence_output, "'y' is no dense tensor"),
        (unknown_operator, "Frobnicate"),
        (dangling, "nowhere"),
    ],
)
def test_what_is_refused_and_leaves_nothing(blobs: Files, make: Any, problem: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        make_artifact(make().SerializeToString(), blobs)

    assert refused.value.field == "model"
    assert problem in refused.value.problem
    assert list(blobs.digests()) == []


@pytest.mark.parametrize("source", [b"", b"PK\x03\x04 not a model", b"\x08\x0a\xff"])
def test_bytes_that_are_no_model(blobs: Files, source: bytes) -> None:
    with pytest.raises(InvalidValue):
        make_artifact(source, blobs)


def test_a_model_that_is_too_large(blobs: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "MAX_MODEL_BYTES", 100)

    with pytest.raises(InvalidValue, match="are too many"):
        make_artifact(mlp().SerializeToString(), blobs)
