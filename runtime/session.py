"""One variant, loaded: an ONNX Runtime session over digest-checked bytes; never chooses what is loaded, or when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.errors import RegistryError
from runtime import ort
from runtime.errors import CorruptArtifact, ExecutionFailed
from runtime.ort import use_global_pool

__all__ = ["Session", "use_global_pool"]

_ORT_DTYPES = {
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}


class Session:
    """A loaded variant; several threads may run it at once."""

    def __init__(self, session: Any, *, digest: str, threads: int, prepack: bool) -> None:
        self.digest = digest
        self.threads = threads
        self.prepack = prepack
        self._session = session
        self._faults = ort.faults()
        self._inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
        self._outputs = [output.name for output in session.get_outputs()]

    @classmethod
    def open(cls, blobs: Blobs, digest: str, *, threads: int, prepack: bool) -> Session:
        """The artifact of this digest, ready to run on `threads` threads (those of the global pool, if there is one).

        Every blob's bytes are hashed: the manifest, the graph, and each tensor's file, which ONNX Runtime then maps
        rather than reads. With `prepack`, ONNX Runtime re-lays weights out in private memory. Raises CorruptArtifact
        when bytes are missing or not what their digest says, ExecutionFailed when ONNX Runtime refuses the graph.
        """
        try:
            manifest = read_manifest(blobs, digest)
            graph = blobs.get(manifest.graph)
            for tensor in manifest.digests[1:]:
                blobs.path(tensor)
        except RegistryError as fault:
            raise CorruptArtifact(f"artifact {digest}: {fault}") from fault
        session = ort.create(graph, blobs.root, threads=threads, prepack=prepack)
        return cls(session, digest=digest, threads=threads, prepack=prepack)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name for inputs that were checked against the task's signature before.

        BYTES tensors are object arrays of `bytes` on both sides. Raises ExecutionFailed with ONNX Runtime's reason.
        """
        try:
            values = self._session.run(self._outputs, {name: _to_ort(array) for name, array in inputs.items()})
        except self._faults as fault:
            raise ExecutionFailed(ort.reason(fault)) from fault
        return {name: _from_ort(value) for name, value in zip(self._outputs, values, strict=True)}

    def rehearse(self) -> None:
        """Run once on one row of zeros, so that the first caller does not pay for first touches.

        Raises ExecutionFailed when the variant cannot run on such inputs.
        """
        self.run({name: _zeros(kind, shape) for name, (kind, shape) in self._inputs.items()})


def _zeros(kind: str, shape: Sequence[int | str | None]) -> NDArray[Any]:
    extents = [extent if isinstance(extent, int) and extent > 0 else 1 for extent in shape]
    if kind == "tensor(string)":
        return np.full(extents, b"", dtype=object)
    dtype = _ORT_DTYPES.get(kind)
    if dtype is None:
        raise ExecutionFailed(f"inputs of {kind} are not served")
    return np.zeros(extents, dtype=dtype)


def _to_ort(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != object:
        return array
    strings = np.empty(array.size, dtype=object)
    strings[:] = [element.decode("utf-8") for element in array.ravel()]
    return strings.reshape(array.shape)


def _from_ort(value: NDArray[Any]) -> NDArray[Any]:
    if value.dtype != object:
        return value
    elements = np.empty(value.size, dtype=object)
    elements[:] = [string.encode("utf-8") for string in value.ravel()]
    return elements.reshape(value.shape)
