"""Which operators a model may use, its own functions included; never how they compute."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from google.protobuf.message import Message
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, numpy_helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import Caps
from optimizer.vet.walk import functions_of, nodes_of, walk

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of operators; "" is ai.onnx. com.microsoft.nchwc is what ONNX Runtime's own optimiser writes for one kind of
processor, and so never comes from outside."""

_CONTRIBUTED = """
Attention AttnLSTM BeamSearch BiasGelu BifurcationDetector BranchwiseRMSNorm CDist CausalConvWithState
ConvTransposeWithDynamicPads CropAndResize DecoderMaskedMultiHeadAttention DequantizeLinear DynamicQuantizeLSTM
DynamicQuantizeMatMul DynamicTimeWarping EmbedLayerNormalization EngramGate ExpandDims FastGelu FusedConv FusedGemm
FusedMatMul GatedAdd GatedDeltaNet GatedRMSNorm GatherBlockQuantized GatherND GatherPacked Gelu GreedySearch
GridSample GroupQueryAttention HyperConnectionPostMix HyperConnectionPreMix Inverse LinearAttention
LinearAttentionGate MRotaryEmbedding MatMulBnb4 MatMulFpQ4 MatMulInteger16 MatMulIntegerToFloat MatMulNBits
MaxpoolWithMask MoE MoEGroupRouter MultiHeadAttention MurmurHash3 NGramHashMapping NGramRepeatBlock NhwcMaxPool Pad
QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv
QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QLinearWhere QMoE QuantizeLinear
QuickGelu Range RotaryEmbedding SampleOp ScaledSiLU SkipLayerNormalization SkipSimplifiedLayerNormalization
SparseAttention SparseToDenseMatMul Tokenizer TransposeMatMul Trilu UnfoldTensor Unique VarlenCausalConvWithState
VarlenNGramHashMapping WhisperBeamSearch WordConvEmbedding
"""

CONTRIBUTED = frozenset(_CONTRIBUTED.split())
"""Operators of com.microsoft with a CPU kernel in ONNX Runtime 1.32, but for the random Sampling. The domain as a whole
is not allowed: its EPContext, for one, is a reference to a file."""

RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Sampling",
    }
)
"""Operators that answer differently each time: a seed only fixes where the sequence of answers starts."""

Key = tuple[str, str, str]


def check_operators(model: ModelProto, caps: Caps) -> None:
    """Raise ModelRefused unless every node is of an allowed operator or of a function that the model has.

    Functions are checked as they would be expanded: within the caps, and never calling themselves.
    """
    functions = functions_of(model)
    if len(functions) != len(model.functions):
        raise ModelRefused(Reason.INVALID_GRAPH, "two of its functions have the same name")
    for domain, name, _ in functions:
        if domain in DOMAINS:
            raise ModelRefused(Reason.INVALID_GRAPH, f"its function {name!r} takes the place of an operator")
    off = _always_false(model)
    for node in nodes_of(model):
        if _key(node) not in functions:
            _check_operator(node)
        _check_mode(node, off)
    expanded = _expanded(model.graph, functions, {}, (), caps)
    if expanded > caps.nodes:
        raise ModelRefused(Reason.TOO_MANY_NODES, f"with its functions expanded it has {expanded} nodes")


def _check_operator(node: NodeProto) -> None:
    domain, name = node.domain[:80], node.op_type[:80]
    if domain not in DOMAINS:
        raise ModelRefused(Reason.UNKNOWN_DOMAIN, f"operator {name!r} is of the domain {domain!r}")
    if name in RANDOM:
        raise ModelRefused(Reason.NONDETERMINISTIC, f"operator {name!r} is random")
    official = "" if domain == "ai.onnx" else domain
    if not (name in CONTRIBUTED if domain == "com.microsoft" else onnx.defs.has(name, official)):
        raise ModelRefused(Reason.UNKNOWN_OPERATOR, f"there is no operator {name!r} in {domain or 'ai.onnx'}")


def _check_mode(node: NodeProto, off: frozenset[str]) -> None:
    """Refuse what is or can be in training mode, on whatever road through the graph it lies."""
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] and node.input[2] not in off:
        raise ModelRefused(Reason.NONDETERMINISTIC, f"its Dropout {node.name[:80]!r} can be in training mode")
    if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
        raise ModelRefused(Reason.MIXES_ROWS, f"its BatchNormalization {node.name[:80]!r} is in training mode")


def _expanded(
    root: Message, functions: dict[Key, FunctionProto], sizes: dict[Key, int], calls: tuple[Key, ...], caps: Caps
) -> int:
    """Nodes under `root` once every call is replaced by the function's nodes; `sizes` remembers the functions'."""
    if len(calls) > caps.depth:
        raise ModelRefused(Reason.TOO_DEEP, f"functions call functions more than {caps.depth} deep")
    total = 0
    for node in nodes_of(root):
        key = _key(node)
        if key in calls:
            raise ModelRefused(Reason.INVALID_GRAPH, f"its function {key[1]!r} calls itself")
        if key in functions and key not in sizes:
            sizes[key] = _expanded(functions[key], functions, sizes, (*calls, key), caps)
        total += sizes.get(key, 1)
    return total


def _key(node: NodeProto) -> Key:
    return node.domain, node.op_type, node.overload


def _always_false(model: ModelProto) -> frozenset[str]:
    """Names of the constants that are False."""
    return frozenset(name for name, tensor in _constants(model) if _is_false(tensor))


def _constants(model: ModelProto) -> Iterable[tuple[str, TensorProto]]:
    for message, _ in walk(model):
        if isinstance(message, onnx.GraphProto):
            yield from ((tensor.name, tensor) for tensor in message.initializer)
        elif isinstance(message, NodeProto) and message.op_type == "Constant":
            yield from ((name, a.t) for name in message.output for a in message.attribute if a.name == "value")


def _is_false(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.BOOL and not numpy_helper.to_array(tensor).any()
