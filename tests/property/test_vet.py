"""Whatever bytes come, reading a model either accepts it or refuses it with a reason."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from optimizer.errors import ModelRefused
from optimizer.vet.caps import Caps
from optimizer.vet.examine import parse
from optimizer.vet.locales import make_portable
from optimizer.vet.operators import check_operators
from optimizer.vet.signature import check_signature
from optimizer.vet.structure import check_structure

CAPS = Caps(nodes=50, tensors=50, depth=3, name_bytes=64, tensor_bytes=1 << 16)


def model() -> bytes:
    """A model with a bit of everything that reading looks at."""
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["t"], value=numpy_helper.from_array(np.ones(2, np.float32)))],
        "branch",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, [2])],
    )
    nodes: list[Any] = [
        helper.make_node("If", ["c"], ["a"], then_branch=branch, else_branch=branch),
        helper.make_node("Dropout", ["x", "", "off"], ["b"]),
        helper.make_node("StringNormalizer", ["s"], ["d"], case_change_action="LOWER", stopwords=["a"]),
        helper.make_node("double", ["b"], ["y"], domain="own"),
    ]
    double = helper.make_function(
        "own",
        "double",
        ["p"],
        ["q"],
        [helper.make_node("Add", ["p", "p"], ["q"])],
        [helper.make_opsetid("", 18)],
    )
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.array(False), "off"), numpy_helper.from_array(np.zeros(3, np.int64), "w")],
    )
    graph.sparse_initializer.add(
        values=numpy_helper.from_array(np.ones(1, np.float32), "v"),
        indices=numpy_helper.from_array(np.zeros(1, np.int64), "i"),
        dims=[2, 2],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return bytes(helper.make_model(graph, opset_imports=imports, ir_version=9, functions=[double]).SerializeToString())


MODEL = model()


def read(data: bytes) -> None:
    """Everything that vetting does with a model before it runs it."""
    proto = parse(data)
    check_structure(proto, CAPS)
    check_operators(proto, CAPS)
    check_signature(proto, CAPS)
    make_portable(proto)


def test_the_model_itself_is_read_without_complaint() -> None:
    read(MODEL)


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(MODEL)),
)
def test_changed_and_shortened_models_are_read_or_refused(changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(MODEL)
    for position, byte in changes:
        data[position] = byte
    for candidate in (bytes(data), bytes(data[:end])):
        with suppress(ModelRefused):
            read(candidate)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ModelRefused):
        read(data)
