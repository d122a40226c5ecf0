"""The `inputs` and `outputs` of this platform's own JSON API; never checks shapes against the signature.

Inputs are an object of tensors by name, or the one tensor itself when the task has one input. A tensor is nested
lists, or images (see `runtime.codecs.images`). A missing number is null, where the signature takes NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from registry.model import TensorSpec
from runtime.codecs.images import decode_images, holds_images
from runtime.codecs.nested import from_nested, to_nested
from runtime.errors import InvalidTensor
from runtime.tensor import most_elements


def decode_inputs(specs: Sequence[TensorSpec], inputs: Any) -> dict[str, NDArray[Any]]:
    """The tensors of a parsed `inputs` value, each of its signature's datatype; raises InvalidTensor.

    What is left to `runtime.codecs.tensors.check_inputs` is missing names, ranks, extents and finiteness.
    """
    by_name = {spec.name: spec for spec in specs}
    if len(specs) == 1 and (isinstance(inputs, list) or holds_images(inputs)):
        inputs = {specs[0].name: inputs}
    if not isinstance(inputs, Mapping):
        raise InvalidTensor("inputs", "it is not an object", f"an object with {sorted(by_name)}")
    return {name: _decode(name, by_name, value) for name, value in inputs.items()}


def encode_outputs(tensors: Mapping[str, NDArray[Any]], *, lists: bool = False) -> dict[str, Any]:
    """Outputs for `runtime.codecs.text.dumps`; with `lists`, for any other JSON writer (slower, more digits).

    NaN and infinities become null in JSON. Raises InvalidTensor for BYTES that are not UTF-8.
    """
    encoded = {name: to_nested(name, array) for name, array in tensors.items()}
    return {name: v if isinstance(v, list) else v.tolist() for name, v in encoded.items()} if lists else encoded


def _decode(name: str, specs: Mapping[str, TensorSpec], value: Any) -> NDArray[Any]:
    spec = specs.get(name)
    if spec is None:
        raise InvalidTensor(name[:80], "the task has no such input", f"one of {sorted(specs)}")
    if holds_images(value):
        return decode_images(spec, value)
    return from_nested(name, spec.datatype, value, max_elements=most_elements(spec.datatype), nulls=not spec.finite)
