"""A corpus of hostile and broken models: each is refused for its own reason, within the caps, and leaves nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from examples import export
from gateway.backends.inline import InlineBackend
from optimizer import family
from optimizer.errors import ModelRefused, NothingRegistered, Reason
from optimizer.evaluation import Evaluation
from optimizer.plan import Plan
from optimizer.register import register
from optimizer.registration import Model, Registration
from optimizer.vet import Caps, vet, vet_all
from registry.blobs import digest_of
from registry.blobs.files import Files
from registry.model import Recipe, Task, TensorSpec
from registry.prices import local_tiers
from registry.stores.memory import MemoryStore
from runtime.codecs.binary import from_tensor, to_tensor
from runtime.ort import OrtSession

CAPS = Caps(
    model_bytes=1 << 20,
    nodes=2000,
    tensors=1000,
    depth=4,
    name_bytes=512,
    tensor_bytes=1 << 26,
    row_bytes=1 << 20,
    memory_mb=256,
    cpu_s=1,
    wall_s=5.0,
)
"""Small, so that a bomb that must go off does so soon."""

FLOAT, INT64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
HUGE = 10**13

Build = Callable[[], bytes | Any]
CORPUS: dict[str, tuple[Build, Reason]] = {}


def hostile(reason: Reason) -> Callable[[Build], Build]:
    """Put what a function builds, bytes or a ModelProto, into the corpus under its name."""

    def add(build: Build) -> Build:
        assert build.__name__ not in CORPUS
        CORPUS[build.__name__] = (build, reason)
        return build

    return add


def bytes_of(build: Build) -> bytes:
    """A model of the corpus as it would be sent."""
    built = build()
    return built if isinstance(built, bytes) else bytes(built.SerializeToString())


def value(name: str, *shape: int | str | None, kind: int = FLOAT) -> Any:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator: str, inputs: str, outputs: str, domain: str = "", /, **attributes: Any) -> Any:
    """A node; names are separated by spaces."""
    return helper.make_node(operator, inputs.split(), outputs.split(), domain=domain, **attributes)


def constant(name: str, array: Any, dtype: Any = np.float32) -> Any:
    """An initializer."""
    return numpy_helper.from_array(np.asarray(array, dtype), name)


def model(
    *nodes: Any,
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
    weights: tuple[Any, ...] = (),
    opsets: tuple[tuple[str, int], ...] = (),
    functions: tuple[Any, ...] = (),
) -> Any:
    """A model of one graph, by default from FP32 `x` [n, 4] to FP32 `y` [n, 4]."""
    graph = helper.make_graph(
        nodes, "g", inputs or [value("x", "n", 4)], outputs or [value("y", "n", 4)], list(weights)
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in (("", 18), *opsets)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, functions=functions)


def relu() -> Any:
    """A model with nothing wrong."""
    return model(node("Relu", "x", "y"))


def product(weight: Any) -> Any:
    """A model that multiplies by one tensor."""
    return model(node("MatMul", "x w", "y"), weights=(weight,))


def branch(name: str, *nodes: Any, weights: tuple[Any, ...] = ()) -> Any:
    """A subgraph without inputs, whose result is called after it."""
    return helper.make_graph(nodes, name, [], [value(name, "n", 4)], list(weights))


def branching(then: Any) -> Any:
    """A model that takes `then`, a subgraph called a, when `x` sums to more than 10**6, which it hardly ever does."""
    return model(
        node("ReduceSum", "x", "s", keepdims=0),
        node("Greater", "s limit", "c"),
        node("If", "c", "y", then_branch=then, else_branch=branch("b", node("Relu", "x", "b"))),
        weights=(constant("limit", 1e6),),
    )


def function(name: str, *nodes: Any, domain: str = "own", opsets: tuple[tuple[str, int], ...] = ()) -> Any:
    """A function of the model's own, from a to b."""
    imports = [helper.make_opsetid(d, v) for d, v in (("", 18), ("own", 1), *opsets)]
    return helper.make_function(domain, name, ["a"], ["b"], list(nodes), imports)


def calling(name: str, *functions: Any) -> Any:
    """A model that calls one of its functions."""
    return model(node(name, "x", "y", "own"), functions=functions, opsets=(("own", 1),))


# ---------------------------------------------------------------------------------------------- not a model at all


@hostile(Reason.NOT_ONNX)
def empty() -> bytes:
    return b""


@hostile(Reason.NOT_ONNX)
def a_zip_archive() -> bytes:
    return b"PK\x03\x04" + bytes(64)


@hostile(Reason.NOT_ONNX)
def a_pickle() -> bytes:
    return b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R."


@hostile(Reason.NOT_ONNX)
def text() -> bytes:
    return b'{"model": "relu"}'


@hostile(Reason.NOT_ONNX)
def noise() -> bytes:
    return np.random.default_rng(0).bytes(4096)


@hostile(Reason.NOT_ONNX)
def a_model_cut_short() -> bytes:
    return bytes_of(relu)[:-7]


@hostile(Reason.NOT_ONNX)
def a_model_without_a_graph() -> Any:
    return onnx.ModelProto(ir_version=9, producer_name="nobody")


# ------------------------------------------------------------------------------------------------- too much of it


@hostile(Reason.TOO_LARGE)
def more_bytes_than_allowed() -> Any:
    made = relu()
    made.doc_string = "x" * CAPS.model_bytes
    return made


@hostile(Reason.TOO_MANY_NODES)
def more_nodes_than_allowed() -> Any:
    chain = [node("Relu", f"t{i}", f"t{i + 1}") for i in range(CAPS.nodes + 1)]
    chain[0].input[0], chain[-1].output[0] = "x", "y"
    return model(*chain)


@hostile(Reason.TOO_MANY_NODES)
def functions_that_double_at_every_call() -> Any:
    twice = [
        function(f"f{i + 1}", node(f"f{i}", "a", "t", "own"), *(node(f"f{i}", "t", "b", "own"),)) for i in range(3)
    ]
    wide = [
        node("Relu", "a", "t0"),
        *(node("Relu", f"t{i}", f"t{i + 1}") for i in range(399)),
        node("Relu", "t399", "b"),
    ]
    return calling("f3", function("f0", *wide), *twice)


@hostile(Reason.TOO_MANY_TENSORS)
def more_tensors_than_allowed() -> Any:
    return model(node("Relu", "x", "y"), weights=tuple(constant(f"w{i}", 0) for i in range(CAPS.tensors + 1)))


@hostile(Reason.TOO_DEEP)
def branches_in_branches() -> Any:
    inner = branch("a", node("Relu", "x", "a"))
    for _ in range(CAPS.depth):
        other = branch("b", node("Relu", "x", "b"))
        inner = branch("a", node("If", "c", "a", then_branch=inner, else_branch=other))
    return branching(inner)


@hostile(Reason.TOO_DEEP)
def deeper_than_protobuf_reads() -> bytes:
    """Written by hand, as protobuf's own library would not: a graph in an attribute of a node of a graph …"""

    def field(number: int, content: bytes) -> bytes:
        size, varint = len(content), b""
        while size > 127:
            varint, size = varint + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + varint + bytes([size]) + content

    graph = b""
    for _ in range(60):
        graph = field(1, field(5, field(6, graph)))
    return b"\x08\x09" + field(7, graph)


@hostile(Reason.TOO_DEEP)
def functions_calling_functions() -> Any:
    chain = [function(f"f{i + 1}", node(f"f{i}", "a", "b", "own")) for i in range(CAPS.depth + 1)]
    return calling(f"f{CAPS.depth + 1}", function("f0", node("Relu", "a", "b")), *chain)


@hostile(Reason.NAME_TOO_LONG)
def a_long_name_of_a_tensor() -> Any:
    name = "w" * (CAPS.name_bytes + 1)
    return model(node("Add", f"x {name}", "y"), weights=(constant(name, [0]),))


@hostile(Reason.NAME_TOO_LONG)
def a_long_name_of_an_axis() -> Any:
    return model(node("Relu", "x", "y"), inputs=[value("x", "n" * (CAPS.name_bytes + 1), 4)])


# ------------------------------------------------------------------------------------------------- external data


def outside(location: str, **entries: str) -> Any:
    """A weight that lies in a file."""
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


@hostile(Reason.EXTERNAL_DATA)
def data_in_a_system_file() -> Any:
    return product(outside("/etc/passwd", offset="0", length="64"))


@hostile(Reason.EXTERNAL_DATA)
def data_up_the_tree() -> Any:
    return product(outside("../../../../etc/passwd"))


@hostile(Reason.EXTERNAL_DATA)
def data_beside_the_model() -> Any:
    return product(outside("weights.bin"))


@hostile(Reason.EXTERNAL_DATA)
def data_in_memory() -> Any:
    """ONNX Runtime's mark for an address in its own process, which it would read."""
    return product(outside("*/_ORT_MEM_ADDR_/*", offset="4096", length="64"))


@hostile(Reason.EXTERNAL_DATA)
def data_in_the_processs_own_memory_file() -> Any:
    return product(outside("/proc/self/mem", offset="0", length="64"))


@hostile(Reason.EXTERNAL_DATA)
def data_with_its_location_denied() -> Any:
    tensor = outside("weights.bin")
    tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = bytes(64)
    return product(tensor)


@hostile(Reason.EXTERNAL_DATA)
def data_of_a_branch() -> Any:
    return branching(branch("a", node("MatMul", "x w", "a"), weights=(outside("weights.bin"),)))


@hostile(Reason.EXTERNAL_DATA)
def data_of_a_constant() -> Any:
    return model(node("Constant", "", "w", value=outside("weights.bin")), node("MatMul", "x w", "y"))


@hostile(Reason.EXTERNAL_DATA)
def data_of_an_attribute_that_nobody_reads() -> Any:
    made = relu()
    made.graph.node[0].attribute.append(
        AttributeProto(name="extra", type=AttributeProto.TENSORS, tensors=[outside("weights.bin")])
    )
    return made


@hostile(Reason.EXTERNAL_DATA)
def data_of_a_function() -> Any:
    body = (node("Constant", "", "w", value=outside("weights.bin")), node("MatMul", "a w", "b"))
    return calling("f", function("f", *body))


@hostile(Reason.EXTERNAL_DATA)
def data_of_a_functions_default() -> Any:
    made = function("f", node("Relu", "a", "b"))
    made.attribute_proto.append(AttributeProto(name="w", type=AttributeProto.TENSOR, t=outside("weights.bin")))
    return calling("f", made)


@hostile(Reason.EXTERNAL_DATA)
def data_of_a_sparse_tensor() -> Any:
    made = relu()
    made.graph.sparse_initializer.add(
        values=outside("weights.bin"), indices=constant("i", range(4), np.int64), dims=[4, 4]
    )
    return made


# ----------------------------------------------------------------------------------------------- broken tensors


def claiming(dims: list[int], data: bytes, data_type: int = FLOAT) -> Any:
    """A tensor that says what its extents and its bytes are."""
    return TensorProto(name="w", data_type=data_type, dims=dims, raw_data=data)


@hostile(Reason.BAD_TENSOR)
def fewer_bytes_than_extents_say() -> Any:
    return product(claiming([4, 4], bytes(60)))


@hostile(Reason.BAD_TENSOR)
def more_bytes_than_extents_say() -> Any:
    return product(claiming([4, 4], bytes(128)))


@hostile(Reason.BAD_TENSOR)
def a_negative_extent() -> Any:
    return product(claiming([-4, -4], bytes(64)))


@hostile(Reason.BAD_TENSOR)
def extents_whose_product_wraps_to_nothing() -> Any:
    return product(claiming([1 << 32, 1 << 32], b""))


@hostile(Reason.BAD_TENSOR)
def extents_whose_product_wraps_to_the_right_size() -> Any:
    return product(claiming([(1 << 62) + 4, 4], bytes(64)))


@hostile(Reason.BAD_TENSOR)
def more_axes_than_served() -> Any:
    return product(claiming([1] * 40, bytes(4)))


@hostile(Reason.BAD_TENSOR)
def an_element_type_that_nobody_knows() -> Any:
    return product(claiming([4, 4], bytes(64), data_type=99))


@hostile(Reason.BAD_TENSOR)
def fewer_numbers_than_extents_say() -> Any:
    return product(TensorProto(name="w", data_type=FLOAT, dims=[4, 4], float_data=[1.0, 2.0]))


@hostile(Reason.BAD_TENSOR)
def fewer_strings_than_extents_say() -> Any:
    made = relu()
    made.graph.initializer.append(TensorProto(name="w", data_type=STRING, dims=[3], string_data=[b"one"]))
    return made


@hostile(Reason.TENSOR_TOO_LARGE)
def a_sparse_tensor_that_is_huge_when_dense() -> Any:
    made = product(constant("v", np.eye(4)))
    sparse = made.graph.sparse_initializer.add(
        values=constant("w", [1.0]), indices=constant("", [0], np.int64), dims=[4, HUGE]
    )
    assert sparse.values.name == "w"
    return made


@hostile(Reason.TENSOR_TOO_LARGE)
def a_constant_of_a_huge_shape() -> Any:
    return model(
        node("ConstantOfShape", "shape", "z"),
        node("ReduceMax", "z", "m", keepdims=0),
        node("Add", "x m", "y"),
        weights=(constant("shape", [HUGE], np.int64),),
    )


# --------------------------------------------------------------------------------------------- unknown operators


@hostile(Reason.UNKNOWN_DOMAIN)
def an_operator_of_a_library_of_its_own() -> Any:
    return model(node("RunShell", "x", "y", "evil.example"), opsets=(("evil.example", 1),))


@hostile(Reason.UNKNOWN_DOMAIN)
def an_operator_of_another_processors_layout() -> Any:
    return model(node("ReorderInput", "x", "y", "com.microsoft.nchwc"), opsets=(("com.microsoft.nchwc", 1),))


@hostile(Reason.UNKNOWN_DOMAIN)
def an_operator_that_calls_torch() -> Any:
    return model(node("ATen", "x", "y", "org.pytorch.aten", operator="relu"), opsets=(("org.pytorch.aten", 1),))


@hostile(Reason.UNKNOWN_DOMAIN)
def an_operator_for_training() -> Any:
    domain = "ai.onnx.preview.training"
    return model(node("Gradient", "x", "y", domain, xs=["x"], y="x"), opsets=((domain, 1),))


@hostile(Reason.UNKNOWN_DOMAIN)
def an_unknown_domain_in_a_branch() -> Any:
    made = branching(branch("a", node("RunShell", "x", "a", "evil.example")))
    made.opset_import.append(helper.make_opsetid("evil.example", 1))
    return made


@hostile(Reason.UNKNOWN_DOMAIN)
def an_unknown_domain_in_a_function() -> Any:
    body = node("RunShell", "a", "b", "evil.example")
    return calling("f", function("f", body, opsets=(("evil.example", 1),)))


@hostile(Reason.UNKNOWN_OPERATOR)
def an_operator_that_does_not_exist() -> Any:
    return model(node("Frobnicate", "x", "y"))


@hostile(Reason.UNKNOWN_OPERATOR)
def an_operator_that_loads_a_file() -> Any:
    made = node("EPContext", "x", "y", "com.microsoft", embed_mode=0, ep_cache_context="/etc/passwd", main_context=1)
    return model(made, opsets=(("com.microsoft", 1),))


@hostile(Reason.UNKNOWN_OPERATOR)
def an_operator_without_a_kernel_for_its_type() -> Any:
    return model(
        node("Conv", "x k", "y"),
        inputs=[value("x", "n", 1, 4, 4, kind=TensorProto.DOUBLE)],
        outputs=[value("y", "n", 1, 4, 4, kind=TensorProto.DOUBLE)],
        weights=(constant("k", np.ones((1, 1, 1, 1)), np.float64),),
    )


# ------------------------------------------------------------------------------------------ what cannot be served


@hostile(Reason.NOT_DENSE)
def an_answer_that_is_a_sequence() -> Any:
    output = helper.make_tensor_sequence_value_info("y", FLOAT, None)
    return model(node("SequenceConstruct", "x", "y"), outputs=[output])


def dictionaries(name: str = "y") -> Any:
    """An output as a ZipMap gives it."""
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, [])))
    return helper.make_value_info(name, kind)


@hostile(Reason.NOT_DENSE)
def an_answer_that_is_a_list_of_dictionaries_twice() -> Any:
    zipped = node("ZipMap", "x", "z", "ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3])
    again = node("Identity", "z", "y")
    return model(zipped, again, outputs=[dictionaries(), dictionaries("z")], opsets=(("ai.onnx.ml", 3),))


@hostile(Reason.SHAPE_INFERENCE)
def dictionaries_of_other_classes_than_there_are_scores() -> Any:
    zipped = node("ZipMap", "x", "y", "ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    return model(zipped, outputs=[dictionaries()], opsets=(("ai.onnx.ml", 3),))


@hostile(Reason.NOT_DENSE)
def an_input_that_may_be_missing() -> Any:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, ["n", 4]))
    return model(node("OptionalGetElement", "x", "y"), inputs=[helper.make_value_info("x", kind)])


@hostile(Reason.NOT_DENSE)
def an_input_that_is_sparse() -> Any:
    kind = helper.make_sparse_tensor_type_proto(FLOAT, ["n", 4])
    return model(node("Relu", "x", "y"), inputs=[helper.make_value_info("x", kind)])


@hostile(Reason.UNSERVED_TYPE)
def complex_numbers() -> Any:
    return model(node("Identity", "x", "y"), inputs=[value("x", "n", 4, kind=TensorProto.COMPLEX64)])


@hostile(Reason.UNSERVED_TYPE)
def an_answer_in_bfloat16() -> Any:
    cast = node("Cast", "x", "y", to=TensorProto.BFLOAT16)
    return model(cast, outputs=[value("y", "n", 4, kind=TensorProto.BFLOAT16)])


@hostile(Reason.NO_BATCH_AXIS)
def one_row_and_no_more() -> Any:
    return model(node("Relu", "x", "y"), inputs=[value("x", 1, 4)], outputs=[value("y", 1, 4)])


@hostile(Reason.NO_BATCH_AXIS)
def a_scalar() -> Any:
    return model(node("Relu", "x", "y"), inputs=[value("x")], outputs=[value("y")])


@hostile(Reason.NO_BATCH_AXIS)
def no_input() -> Any:
    made = model(node("Identity", "w", "y"), weights=(constant("w", np.ones((2, 4))),))
    made.graph.ClearField("input")
    return made


@hostile(Reason.NO_BATCH_AXIS)
def one_answer_for_all_rows() -> Any:
    return model(node("ReduceMean", "x axis", "y"), outputs=[value("y", None, 4)], weights=(AXIS_0,))


@hostile(Reason.NO_BATCH_AXIS)
def four_answers_for_each_row() -> Any:
    return model(
        node("Reshape", "x shape", "y"), outputs=[value("y", None)], weights=(constant("shape", [-1], np.int64),)
    )


# ------------------------------------------------------------------------------------------------ invalid graphs

AXIS_0 = constant("axis", [0], np.int64)


@hostile(Reason.INVALID_GRAPH)
def a_node_that_reads_what_nobody_writes() -> Any:
    return model(node("Relu", "nowhere", "y"))


@hostile(Reason.INVALID_GRAPH)
def a_cycle() -> Any:
    return model(node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y"))


@hostile(Reason.INVALID_GRAPH)
def two_nodes_that_write_the_same() -> Any:
    return model(node("Relu", "x", "y"), node("Neg", "x", "y"))


@hostile(Reason.INVALID_GRAPH)
def an_operator_without_its_attribute() -> Any:
    return model(node("Concat", "x x", "y"), outputs=[value("y", "n", 8)])


@hostile(Reason.INVALID_GRAPH)
def a_format_of_the_future() -> Any:
    made = relu()
    made.ir_version = 999
    return made


@hostile(Reason.INVALID_GRAPH)
def operators_of_no_version() -> Any:
    made = relu()
    made.ClearField("opset_import")
    return made


@hostile(Reason.INVALID_GRAPH)
def a_function_that_calls_itself() -> Any:
    return calling("f", function("f", node("f", "a", "b", "own")))


@hostile(Reason.INVALID_GRAPH)
def functions_that_call_each_other() -> Any:
    return calling("f", function("f", node("g", "a", "b", "own")), function("g", node("f", "a", "b", "own")))


@hostile(Reason.INVALID_GRAPH)
def a_function_that_takes_an_operators_place() -> Any:
    return model(node("Relu", "x", "y"), functions=(function("Relu", node("Neg", "a", "b"), domain=""),))


@hostile(Reason.INVALID_GRAPH)
def two_functions_of_one_name() -> Any:
    return calling("f", function("f", node("Neg", "a", "b")), function("f", node("Relu", "a", "b")))


@hostile(Reason.INVALID_GRAPH)
def steps_of_training() -> Any:
    made = relu()
    made.training_info.add().algorithm.name = "sgd"
    return made


@hostile(Reason.SHAPE_INFERENCE)
def shapes_that_do_not_fit() -> Any:
    return product(constant("w", np.ones((5, 4))))


@hostile(Reason.SHAPE_INFERENCE)
def an_answer_of_another_shape_than_declared() -> Any:
    return model(node("Relu", "x", "y"), outputs=[value("y", "n", 7)])


@hostile(Reason.SHAPE_INFERENCE)
def types_that_do_not_fit() -> Any:
    return model(node("Add", "x w", "y"), weights=(constant("w", [1], np.int64),))


# ------------------------------------------------------------------------------------- what neither loads nor runs


@hostile(Reason.NOT_LOADABLE)
def a_forest_whose_columns_differ_in_length() -> Any:
    trees = node(
        "TreeEnsembleRegressor",
        "x",
        "y",
        "ai.onnx.ml",
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1],
        nodes_featureids=[0, 0, 0],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
        n_targets=1,
    )
    return model(trees, outputs=[value("y", None, 1)], opsets=(("ai.onnx.ml", 3),))


@hostile(Reason.NOT_LOADABLE)
def a_forest_that_grows_in_a_circle() -> Any:
    trees = node(
        "TreeEnsembleRegressor",
        "x",
        "y",
        "ai.onnx.ml",
        nodes_treeids=[0, 0],
        nodes_nodeids=[0, 1],
        nodes_featureids=[0, 0],
        nodes_values=[0.5, 0.5],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ"],
        nodes_truenodeids=[1, 0],
        nodes_falsenodeids=[1, 0],
        target_treeids=[0],
        target_nodeids=[1],
        target_ids=[0],
        target_weights=[1.0],
        n_targets=1,
    )
    return model(trees, outputs=[value("y", None, 1)], opsets=(("ai.onnx.ml", 3),))


@hostile(Reason.NEVER_RUNS)
def an_index_that_is_always_out_of_bounds() -> Any:
    return model(
        node("Shape", "x", "shape"),
        node("ReduceProd", "shape", "far", keepdims=0),
        node("Gather", "x far", "one", axis=1),
        node("Unsqueeze", "one axis", "y"),
        outputs=[value("y", None, None)],
        weights=(constant("axis", [1], np.int64),),
    )


@hostile(Reason.CRASHED)
def the_least_integer_by_minus_one() -> Any:
    """Overflow, which the processor answers by ending the process."""
    return model(
        node("Div", "x minus", "y"),
        inputs=[value("x", "n", 4, kind=INT64)],
        outputs=[value("y", "n", 4, kind=INT64)],
        weights=(constant("minus", -1, np.int64),),
    )


# -------------------------------------------------------------------------------------------------------- bombs


def sized(*nodes: Any, factor: int = HUGE) -> Any:
    """A model whose nodes find in `size` [1] a number of `factor` for each row, which no shape inference foresees."""
    return model(
        node("Shape", "x", "rows", start=0, end=1),
        node("Mul", "rows factor", "size"),
        *nodes,
        weights=(constant("factor", [factor], np.int64), constant("minus", [-1], np.int64)),
        outputs=[value("y", None, None)],
    )


FOLD = (node("ReduceMax", "z", "m", keepdims=0), node("Add", "x m", "y"))
"""An answer of ordinary size, out of something large."""


@hostile(Reason.OUT_OF_MEMORY)
def zeros_without_number() -> Any:
    return sized(node("ConstantOfShape", "size", "z"), *FOLD)


@hostile(Reason.OUT_OF_MEMORY)
def an_expansion_of_one_number() -> Any:
    return sized(node("ReduceMax", "x", "one", keepdims=0), node("Expand", "one size", "z"), *FOLD)


@hostile(Reason.OUT_OF_MEMORY)
def a_range_without_end() -> Any:
    return sized(
        node("Squeeze", "size", "end"),
        node("Constant", "", "zero", value=constant("", 0, np.int64)),
        node("Constant", "", "step", value=constant("", 1, np.int64)),
        node("Range", "zero end step", "numbers"),
        node("Cast", "numbers", "z", to=FLOAT),
        *FOLD,
    )


@hostile(Reason.OUT_OF_MEMORY)
def tiles_without_number() -> Any:
    return sized(node("Reshape", "x minus", "flat"), node("Tile", "flat size", "z"), *FOLD)


@hostile(Reason.OUT_OF_MEMORY)
def a_padding_without_end() -> Any:
    return sized(
        node("Reshape", "x minus", "flat"),
        node("Concat", "size size", "pads", axis=0),
        node("Pad", "flat pads", "z"),
        *FOLD,
    )


@hostile(Reason.OUT_OF_MEMORY)
def a_string_that_doubles_forever() -> Any:
    body = helper.make_graph(
        [node("StringConcat", "s s", "t"), node("Identity", "go", "on")],
        "body",
        [value("i", kind=INT64), value("go", kind=BOOL), value("s", "n", kind=STRING)],
        [value("on", kind=BOOL), value("t", "n", kind=STRING)],
    )
    made = model(
        node("Loop", "count go x", "y", body=body),
        inputs=[value("x", "n", kind=STRING)],
        outputs=[value("y", "n", kind=STRING)],
        weights=(constant("count", 60, np.int64), constant("go", True, np.bool_)),
        opsets=(),
    )
    made.opset_import[0].version = 20
    return made


@hostile(Reason.OUT_OF_MEMORY)
def a_size_that_the_caller_chooses() -> Any:
    return model(
        node("Slice", "x zero one zero", "first"),
        node("Reshape", "first minus", "given"),
        node("Add", "given one", "size"),
        node("ConstantOfShape", "size", "z"),
        node("ReduceMax", "z", "m", keepdims=0),
        node("Cast", "x", "f", to=FLOAT),
        node("Add", "f m", "y"),
        inputs=[value("x", "n", 1, kind=INT64)],
        outputs=[value("y", None, None)],
        weights=tuple(constant(n, [i], np.int64) for n, i in (("zero", 0), ("one", 1), ("minus", -1))),
    )


@hostile(Reason.OUTPUT_TOO_LARGE)
def an_answer_of_megabytes_for_each_row() -> Any:
    return model(
        node("Tile", "x many", "y"), outputs=[value("y", None, None)], weights=(constant("many", [1, 10**5], np.int64),)
    )


@hostile(Reason.OUTPUT_TOO_LARGE)
def an_answer_as_long_as_a_novel() -> Any:
    text = TensorProto(name="novel", data_type=STRING, dims=[1], string_data=[b"x" * 2048])
    return model(
        node("Shape", "x", "rows", start=0, end=1),
        node("Concat", "rows columns", "shape", axis=0),
        node("Expand", "novel shape", "y"),
        outputs=[value("y", None, None, kind=STRING)],
        weights=(text, constant("columns", [1000], np.int64)),
    )


def looping(count: Any, *nodes: Any) -> Any:
    """A model that repeats nodes from s to t; `count` is the most times, or nothing."""
    body = helper.make_graph(
        [*nodes, node("Identity", "go", "on")],
        "body",
        [value("i", kind=INT64), value("go", kind=BOOL), value("s", "n", 4)],
        [value("on", kind=BOOL), value("t", "n", 4)],
    )
    loop = helper.make_node("Loop", ["count" if count else "", "go", "x"], ["y"], body=body)
    weights = [constant("go", True, np.bool_)] + ([constant("count", count, np.int64)] if count else [])
    return model(loop, weights=tuple(weights))


@hostile(Reason.OUT_OF_TIME)
def a_loop_without_end() -> Any:
    return looping(None, node("Relu", "s", "t"))


@hostile(Reason.OUT_OF_TIME)
def a_loop_of_a_long_time() -> Any:
    return looping(HUGE, node("Sin", "s", "t"))


# ------------------------------------------------------------------------------------------ answers that vary


@hostile(Reason.NONDETERMINISTIC)
def noise_added() -> Any:
    return model(node("RandomNormalLike", "x", "z"), node("Add", "x z", "y"))


@hostile(Reason.NONDETERMINISTIC)
def noise_with_a_seed() -> Any:
    return model(node("RandomUniform", "", "z", shape=[4], seed=1.0), node("Add", "x z", "y"))


@hostile(Reason.NONDETERMINISTIC)
def labels_drawn_by_lot() -> Any:
    return model(node("Multinomial", "x", "y", sample_size=1, dtype=INT64), outputs=[value("y", None, 1, kind=INT64)])


@hostile(Reason.NONDETERMINISTIC)
def coins_tossed() -> Any:
    return model(node("Sigmoid", "x", "p"), node("Bernoulli", "p", "y"))


@hostile(Reason.NONDETERMINISTIC)
def noise_on_a_road_seldom_taken() -> Any:
    return branching(branch("a", node("RandomNormalLike", "x", "a")))


@hostile(Reason.NONDETERMINISTIC)
def dropout_in_training() -> Any:
    return model(node("Dropout", "x ratio on", "y"), weights=(constant("ratio", 0.5), constant("on", True, np.bool_)))


@hostile(Reason.MIXES_ROWS)
def a_softmax_over_rows() -> Any:
    return model(node("Softmax", "x", "y", axis=0))


@hostile(Reason.MIXES_ROWS)
def rows_less_their_mean() -> Any:
    return model(node("ReduceMean", "x axis", "m"), node("Sub", "x m", "y"), weights=(AXIS_0,))


@hostile(Reason.MIXES_ROWS)
def a_running_sum_over_rows() -> Any:
    return model(node("CumSum", "x zero", "y"), weights=(constant("zero", 0, np.int64),))


@hostile(Reason.MIXES_ROWS)
def rows_in_reverse() -> Any:
    return model(
        node("Slice", "x from to axis step", "y"),
        weights=(
            constant("from", [-1], np.int64),
            constant("to", [-(10**9)], np.int64),
            AXIS_0,
            constant("step", [-1], np.int64),
        ),
    )


@hostile(Reason.MIXES_ROWS)
def normalisation_in_training() -> Any:
    return model(
        node("BatchNormalization", "x s b m v", "y rm rv", training_mode=1),
        weights=tuple(constant(name, [1.0] * 4) for name in "sbmv"),
    )


@hostile(Reason.MIXES_ROWS)
def a_share_of_the_batch() -> Any:
    return model(
        node("Shape", "x", "rows", start=0, end=1), node("Cast", "rows", "n", to=FLOAT), node("Div", "x n", "y")
    )


@hostile(Reason.UNPORTABLE_LOCALE)
def case_changed_in_turkish() -> Any:
    lower = node("StringNormalizer", "x", "y", case_change_action="LOWER", locale="tr_TR.UTF-8")
    return model(lower, inputs=[value("x", None, kind=STRING)], outputs=[value("y", None, kind=STRING)])


# --------------------------------------------------------------------------------------------------------- tests

INLINE = local_tiers()[0]
PLAN = Plan(rows=(1, 8), extra=0, starts=2, most_starts=2, alone=False, cell_s=0.005, least=3, most=5, trials=2)
ROWS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
TASK = Task("rectify", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 4)),), "rmse_skill")


def registration(models: dict[str, bytes]) -> Registration:
    """All of the models, for a task that one sound model does."""
    made = tuple(Model(name, onnx, Recipe("source"), max_batch=8) for name, onnx in models.items())
    return Registration(TASK, Evaluation({"x": ROWS}, "y", np.maximum(ROWS, 0)), {}, made, (INLINE,))


def digest_of_registry(store: MemoryStore, blobs: Files) -> str:
    """Of the newest catalogue's document, of the list of releases and of all names and bytes of blobs."""
    document = store.load().to_document()
    files = sorted((digest, digest_of(blobs.get(digest))) for digest in blobs.digests())
    told = json.dumps([document, [str(release) for release in store.history()], files], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True)
class Attempt:
    """What came of registering the whole corpus beside a sound task."""

    verdicts: dict[str, bytes | ModelRefused]
    reasons: tuple[str, ...]
    before: str
    after: str
    blobs: int


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """One registration of every model of the corpus, in one sandbox with small caps."""
    verdicts: list[bytes | ModelRefused] = []

    def vet_within_small_caps(models: Sequence[bytes], **settings: Any) -> list[bytes | ModelRefused]:
        judged = vet_all(models, caps=CAPS, **settings)
        verdicts[:] = judged
        return judged

    async def register_all(store: MemoryStore, blobs: Files) -> tuple[str, tuple[str, ...]]:
        backend = InlineBackend(INLINE, emit=lambda event: None, blobs=blobs)
        try:
            await register(registration({"sound": bytes_of(relu)}), store, blobs, {INLINE.name: backend}, plan=PLAN)
            before = digest_of_registry(store, blobs)
            corpus = registration({name: bytes_of(build) for name, (build, _) in CORPUS.items()})
            with pytest.raises(NothingRegistered) as refused:
                await register(corpus, store, blobs, {INLINE.name: backend}, plan=PLAN)
            return before, refused.value.reasons
        finally:
            await backend.close()

    store, blobs = MemoryStore(), Files(tmp_path_factory.mktemp("registry"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family, "vet_all", vet_within_small_caps)
        before, reasons = asyncio.run(register_all(store, blobs))
    after = digest_of_registry(store, blobs)
    return Attempt(dict(zip(CORPUS, verdicts, strict=True)), reasons, before, after, len(list(blobs.digests())))


def test_there_are_enough_of_them() -> None:
    assert len(CORPUS) >= 55
    assert {reason for _, reason in CORPUS.values()} == set(Reason)


@pytest.mark.parametrize("name", CORPUS)
def test_each_is_refused_for_its_own_reason(attempt: Attempt, name: str) -> None:
    refusal = attempt.verdicts[name]

    assert isinstance(refusal, ModelRefused), "it was accepted"
    # What grows for ever runs out of memory, or of time first where the machine is slow.
    spent = {Reason.OUT_OF_TIME} if name == "a_string_that_doubles_forever" else set()
    assert refusal.reason in {CORPUS[name][1]} | spent, refusal
    assert refusal.problem
    assert refusal.fix
    assert len(str(refusal)) < 1000


def test_a_registry_is_the_same_before_and_after_all_of_them(attempt: Attempt) -> None:
    assert len(attempt.reasons) == len(CORPUS)
    assert all(reason.startswith(f"{name}: model: ") for name, reason in zip(CORPUS, attempt.reasons, strict=True))
    assert attempt.blobs > 0
    assert attempt.before == attempt.after


@pytest.mark.parametrize("link", ["symlink", "hardlink", "plain"])
def test_weights_that_do_lie_where_a_model_says_are_not_read(tmp_path: Path, link: str) -> None:
    """Onnx and ONNX Runtime have each followed a link out of a model's folder before."""
    secret, place = tmp_path / "secret", tmp_path / "weights.bin"
    secret.write_bytes(bytes(64))
    if link == "symlink":
        place.symlink_to(secret)
    elif link == "hardlink":
        place.hardlink_to(secret)
    else:
        place = secret

    with pytest.raises(ModelRefused) as refused:
        vet(product(outside(str(place), offset="0", length="64")).SerializeToString(), caps=CAPS)

    assert refused.value.reason is Reason.EXTERNAL_DATA
    assert "'w'" in refused.value.detail


@pytest.fixture(scope="module")
def sound() -> dict[str, bytes]:
    """Models as exporters write them, of the kinds that the examples have and of those that vetting looks at twice."""
    digits = load_digits()
    rows, labels = digits.data[:300].astype(np.float32), digits.target[:300]
    estimators = (
        make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=50)),
        RandomForestClassifier(5, random_state=0),
        GradientBoostingClassifier(n_estimators=2, random_state=0),
        KNeighborsClassifier(3),
    )
    made = {
        type(estimator).__name__ + str(i): export.classifier(estimator.fit(rows, labels), 64, 10, input_name="image")
        for i, estimator in enumerate(estimators)
    }
    weights = (constant("k", np.ones((8, 1, 3, 3)) / 9), constant("w", np.ones((8, 10))))
    made["network"] = bytes_of(
        lambda: model(
            node("Conv", "x k", "a", pads=[1, 1, 1, 1]),
            node("Relu", "a", "b"),
            node("GlobalAveragePool", "b", "c"),
            node("Flatten", "c", "d"),
            node("MatMul", "d w", "e"),
            node("Softmax", "e", "y", axis=1),
            inputs=[value("x", "n", 1, "height", "width")],
            outputs=[value("y", "n", 10)],
            weights=weights,
        )
    )
    made["branches"] = bytes_of(lambda: branching(branch("a", node("Neg", "x", "a"))))
    made["functions"] = bytes_of(lambda: calling("f", function("f", node("Relu", "a", "b"))))
    made["loop"] = bytes_of(lambda: looping(3, node("Tanh", "s", "t")))
    made["dropout that is off"] = bytes_of(
        lambda: model(
            node("Dropout", "x ratio off", "y"), weights=(constant("ratio", 0.5), constant("off", False, np.bool_))
        )
    )
    made["contributed"] = bytes_of(
        lambda: model(node("Gelu", "x", "y", "com.microsoft"), opsets=(("com.microsoft", 1),))
    )
    made["dynamic int8"] = bytes_of(
        lambda: model(
            node("DynamicQuantizeLinear", "x", "q s z"),
            node("MatMulInteger", "q w z wz", "i"),
            node("Cast", "i", "f", to=FLOAT),
            node("Mul", "f s", "g"),
            node("Mul", "g ws", "y"),
            weights=(
                constant("w", np.arange(-8, 8).reshape(4, 4), np.int8),
                constant("wz", 0, np.int8),
                constant("ws", 0.02),
            ),
        )
    )
    made["case kept"] = bytes_of(lambda: text_model(case_change_action="NONE", locale="C"))
    return made


def text_model(**attributes: Any) -> Any:
    """A model that normalises texts."""
    normalise = node("StringNormalizer", "x", "y", **attributes)
    return model(normalise, inputs=[value("x", None, kind=STRING)], outputs=[value("y", None, kind=STRING)])


def test_sound_models_keep_every_byte(sound: dict[str, bytes]) -> None:
    for (name, given), accepted in zip(sound.items(), vet_all(list(sound.values())), strict=True):
        assert accepted == given, name


def test_a_text_pipeline_is_made_to_run_on_every_host() -> None:
    texts = ["The cat sat", "a DOG ran", "the dog sat", "two CATS"] * 5
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 1, 0] * 5)
    exported = to_onnx(
        pipeline,
        initial_types=[("text", StringTensorType([None, 1]))],
        options={"zipmap": False},
        target_opset={"": 18, "ai.onnx.ml": 3},
    ).SerializeToString()

    accepted = vet(exported)

    assert accepted != exported
    session = OrtSession(accepted, "/nonexistent", threads=1, prepack=False, optimised=False)
    batch = np.array([[text.encode()] for text in texts[:4]], dtype=object)
    answers = session.run({"text": to_tensor("text", batch)})
    scores = from_tensor("probabilities", answers["probabilities"])
    np.testing.assert_allclose(scores, pipeline.predict_proba(texts[:4]), atol=1e-5)
