"""ONNX Runtime as this platform uses it: one environment, sessions over mapped weights; never a policy.

Importing this module costs nothing; the library is loaded when the first session opens, or the global pool is made.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p

from registry.typed import Any, NamedTuple
from runtime.capi import Api, find_library
from runtime.errors import ExecutionFailed, NoProvider, PoolTooLate
from runtime.tensor import SIZES, Tensor, join_bytes, split_bytes

# ONNXTensorElementDataType of onnxruntime_c_api.h.
_ELEMENT_TYPES = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "BYTES",
    9: "BOOL",
    10: "FP16",
    11: "FP64",
    12: "UINT32",
    13: "UINT64",
}
_ELEMENT_CODES = {name: code for code, name in _ELEMENT_TYPES.items()}

_FATAL, _DISABLE_ALL, _ENABLE_ALL, _ARENA, _DEFAULT_MEMORY = 4, 0, 99, 1, 0

SPIN_US = b"100"
"""How long a thread of several spins for the next node of a graph before it sleeps. Eight layers took 0.70 ms on two
threads so, 0.98 where they sleep at once, and a fifth less of the cores' time; 50 and 1,000 µs are no better."""

PROVIDERS = ("CUDA", "CPU")
"""Execution providers that sessions can be given; what the ones before leave over is the CPU's."""


class _Runtime:
    """The library, its environment and what every session shares."""

    def __init__(self, pool_threads: int | None) -> None:
        # Since 1.29, Linux wheels upload session and model events to their maker unless this is set before the first
        # environment (its Privacy.md), and keep a thread and a file for it. An operator may set it to 0.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        self.api = api = Api(find_library())
        self.pool_threads = pool_threads
        if pool_threads is None:
            self.environment = api.make("CreateEnv", _FATAL, b"modelless")
        else:
            options = api.make("CreateThreadingOptions")
            api.SetGlobalIntraOpNumThreads(options, pool_threads)
            api.SetGlobalInterOpNumThreads(options, 1)
            api.SetGlobalSpinControl(options, 0)
            self.environment = api.make("CreateEnvWithGlobalThreadPools", _FATAL, b"modelless", options)
            api.ReleaseThreadingOptions(options)
        self.memory = api.make("CreateCpuMemoryInfo", _ARENA, _DEFAULT_MEMORY)
        self.allocator = api.make("GetAllocatorWithDefaultOptions")


_runtime: _Runtime | None = None
_runtime_lock = threading.Lock()


def use_global_pool(threads: int) -> None:
    """Make every session of this process compute on one pool of `threads` threads, the caller's included.

    Without it each session has a pool of its own. Call it once, before the first session opens; asking again for the
    same size changes nothing. Raises PoolTooLate otherwise.
    """
    global _runtime  # noqa: PLW0603 - the pool belongs to ONNX Runtime's one environment per process
    with _runtime_lock:
        if _runtime is None:
            _runtime = _Runtime(threads)
        elif _runtime.pool_threads is None:
            raise PoolTooLate("a session was opened before; make the pool before the first one")
        elif _runtime.pool_threads != threads:
            raise PoolTooLate(f"the pool has {_runtime.pool_threads} threads; ask for as many, or restart the process")


def start() -> None:
    """Load the library now rather than with the first session."""
    _started()


def _started() -> _Runtime:
    global _runtime  # noqa: PLW0603 - see use_global_pool
    with _runtime_lock:
        if _runtime is None:
            _runtime = _Runtime(None)
        return _runtime


def check_providers(providers: Sequence[str]) -> None:
    """Raise NoProvider for the first execution provider that cannot be had here, saying what would help."""
    api = _started().api
    for provider in providers:
        if provider not in PROVIDERS:
            raise NoProvider(f"execution provider {provider!r:.40} is unknown; use {' or '.join(PROVIDERS)}")
        if f"{provider}ExecutionProvider" not in _available(api):
            raise NoProvider(
                f"ONNX Runtime {api.version} was built without {provider}; install onnxruntime-gpu in place of "
                "onnxruntime, or leave it out of the providers"
            )
        if provider == "CUDA":
            options = api.make("CreateSessionOptions")
            try:
                _append_cuda(api, options)
            finally:
                api.ReleaseSessionOptions(options)


def _available(api: Api) -> list[str]:
    names, count = POINTER(c_char_p)(), c_int()
    api.GetAvailableProviders(byref(names), byref(count))
    try:
        return [(names[i] or b"").decode() for i in range(count.value)]
    finally:
        api.ReleaseAvailableProviders(names, count)


def _append_cuda(api: Api, options: c_void_p) -> None:
    """Have the first GPU run what it can; raises NoProvider with what ONNX Runtime misses (a driver, CUDA, cuDNN)."""
    try:
        cuda = api.make("CreateCUDAProviderOptions")
        try:
            api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda)
        finally:
            api.ReleaseCUDAProviderOptions(cuda)
    except ExecutionFailed as fault:
        raise NoProvider(f"CUDA cannot be used here: {fault}") from fault


class Span(NamedTuple):
    """A tensor of numbers in memory that stays where it is for as long as anything is bound to it."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    address: int
    size: int
    """In bytes."""


class OrtSession:
    """A session over a graph; several threads may run it at once."""

    def __init__(
        self,
        graph: bytes,
        tensors_root: str,
        *,
        threads: int,
        prepack: bool,
        optimised: bool = True,
        providers: Sequence[str] = ("CPU",),
    ) -> None:
        """Load `graph`, whose external tensors lie under `tensors_root` and are mapped, not read.

        A graph that was not `optimised` when it was made is optimised now. `threads` counts when there is no global
        pool. Each node is given to the first of the `providers` that can run it. Raises ExecutionFailed with ONNX
        Runtime's reason, or NoProvider.
        """
        self._handle: c_void_p | None = None
        self._runtime = runtime = _started()
        self._api = api = runtime.api
        options = api.make("CreateSessionOptions")
        try:
            api.SetSessionGraphOptimizationLevel(options, _DISABLE_ALL if optimised else _ENABLE_ALL)
            api.SetSessionLogSeverityLevel(options, _FATAL)
            if runtime.pool_threads is None:
                api.SetIntraOpNumThreads(options, threads)
                api.SetInterOpNumThreads(options, 1)
            else:
                api.DisablePerSessionThreads(options)
            for key, value in _config(tensors_root, prepack, threads):
                api.AddSessionConfigEntry(options, key, value)
            if "CUDA" in providers:
                _append_cuda(api, options)
            self._handle = api.make("CreateSessionFromArray", runtime.environment, graph, len(graph), options)
        finally:
            api.ReleaseSessionOptions(options)
        self.inputs = {self._name("Input", i): self._described("Input", i) for i in range(self._count("Input"))}
        """Datatype and shape of each input, -1 for any extent."""
        self.outputs = [self._name("Output", i) for i in range(self._count("Output"))]
        self._output_names = (c_char_p * len(self.outputs))(*(name.encode() for name in self.outputs))

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs by name; raises ExecutionFailed with ONNX Runtime's reason, without what it quotes of inputs."""
        api, count = self._api, len(self.outputs)
        values, results = (c_void_p * len(inputs))(), (c_void_p * count)()
        buffers: list[_Buffer] = []
        try:
            for i, (name, tensor) in enumerate(inputs.items()):
                values[i] = self._value(name, tensor, buffers)
            names = (c_char_p * len(inputs))(*map(str.encode, inputs))
            _run(api, self._handle, None, names, values, len(inputs), self._output_names, count, results)
            return {name: self._read(value) for name, value in zip(self.outputs, results, strict=True)}
        finally:
            for value in (*values, *results):
                if value:
                    api.ReleaseValue(value)
            for buffer in buffers:
                _release_buffer(buffer)

    def describe_outputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Datatype and shape of each output, -1 for any extent; a rank that the graph does not tell has no extents.

        Raises ExecutionFailed for an output that is no dense tensor.
        """
        return {name: self._described("Output", i) for i, name in enumerate(self.outputs)}

    def bind(self, inputs: Sequence[Span], outputs: Sequence[Span]) -> Bound:
        """The session with its tensors where they are, for runs that cost a tenth of `run` beside the graph's own time.

        All inputs and outputs of the session, of fixed shapes; raises ExecutionFailed for one that is none.
        """
        assert self._handle is not None, "a closed session binds nothing"
        return Bound(self._api, self._handle, self._runtime.memory, inputs, outputs)

    def close(self) -> None:
        """Free the session; nobody may be running it."""
        handle, self._handle = self._handle, None
        if handle:
            self._api.ReleaseSession(handle)

    def __del__(self) -> None:
        """Free what was not closed."""
        self.close()

    def _count(self, side: str) -> int:
        count = c_size_t()
        getattr(self._api, f"SessionGet{side}Count")(self._handle, byref(count))
        return count.value

    def _name(self, side: str, i: int) -> str:
        text = self._api.make(f"SessionGet{side}Name", self._handle, i, self._runtime.allocator)
        try:
            return ctypes.string_at(text).decode()
        finally:
            self._api.AllocatorFree(self._runtime.allocator, text)

    def _described(self, side: str, i: int) -> tuple[str, tuple[int, ...]]:
        kind = self._api.make(f"SessionGet{side}TypeInfo", self._handle, i)
        try:
            # The tensor's info is part of the type's, and null for what is no tensor.
            tensor = self._api.make("CastTypeInfoToTensorInfo", kind)
            if not tensor:
                raise ExecutionFailed(f"{side.lower()} {i} is no dense tensor")
            return self._describe(tensor)
        finally:
            self._api.ReleaseTypeInfo(kind)

    def _describe(self, info: c_void_p) -> tuple[str, tuple[int, ...]]:
        code, rank = c_int(), c_size_t()
        self._api.GetTensorElementType(info, byref(code))
        self._api.GetDimensionsCount(info, byref(rank))
        extents = (c_int64 * rank.value)()
        self._api.GetDimensions(info, extents, rank)
        datatype = _ELEMENT_TYPES.get(code.value)
        if datatype is None:
            raise ExecutionFailed(f"tensors of ONNX element type {code.value} are not served")
        return datatype, tuple(extents)

    def _value(self, name: str, tensor: Tensor, buffers: list[_Buffer]) -> int | None:
        """The tensor as an OrtValue over its own buffer, which joins `buffers`; BYTES are copied."""
        code, rank = _ELEMENT_CODES[tensor.datatype], len(tensor.shape)
        shape = (c_int64 * rank)(*tensor.shape)
        if tensor.datatype == "BYTES":
            elements = split_bytes(name, math.prod(tensor.shape), tensor.data)
            value = self._api.make("CreateTensorAsOrtValue", self._runtime.allocator, shape, rank, code)
            self._fill(value, elements)
            return value.value
        # ctypes' own `from_buffer` refuses read-only memory, which is what bodies are; ONNX Runtime only reads inputs.
        buffer = _Buffer()
        _get_buffer(tensor.data, buffer, _SIMPLE)
        buffers.append(buffer)
        return self._api.make(
            "CreateTensorWithDataAsOrtValue", self._runtime.memory, buffer.buf, buffer.len, shape, rank, code
        ).value

    def _fill(self, value: c_void_p, elements: list[bytes]) -> None:
        for i, element in enumerate(elements):
            # Not FillStringTensor: that ends at a zero byte.
            buffer = self._api.make("GetResizedStringTensorElementBuffer", value, i, len(element))
            ctypes.memmove(buffer, element, len(element))

    def _read(self, value: int) -> Tensor:
        info = self._api.make("GetTensorTypeAndShape", value)
        try:
            datatype, shape = self._describe(info)
        finally:
            self._api.ReleaseTensorTypeAndShapeInfo(info)
        if datatype == "BYTES":
            return Tensor(datatype, shape, join_bytes(self._strings(value, math.prod(shape))))
        data = self._api.make("GetTensorMutableData", value)
        return Tensor(datatype, shape, ctypes.string_at(data, math.prod(shape) * SIZES[datatype]))

    def _strings(self, value: int, count: int) -> list[bytes]:
        if count == 0:
            return []
        size = c_size_t()
        self._api.GetStringTensorDataLength(value, byref(size))
        text, offsets = ctypes.create_string_buffer(size.value or 1), (c_size_t * count)()
        self._api.GetStringTensorContent(value, text, size, offsets, count)
        ends = [*offsets[1:], size.value]
        raw = text.raw
        return [raw[start:end] for start, end in zip(offsets, ends, strict=True)]


class Bound:
    """A session bound to tensors in memory; one run at a time, and only while the session is open."""

    __slots__ = ("_api", "_arguments", "_values")

    def __init__(
        self, api: Api, session: c_void_p, memory: c_void_p, inputs: Sequence[Span], outputs: Sequence[Span]
    ) -> None:
        self._api = api
        self._values: list[int | None] = []
        self._arguments = (session, None, *self._side(memory, inputs), *self._side(memory, outputs, out=True))

    def run(self) -> None:
        """Read the inputs and write the outputs; raises ExecutionFailed as `OrtSession.run` does."""
        _run(self._api, *self._arguments)

    def close(self) -> None:
        """Let go of the tensors."""
        values, self._values = self._values, []
        for value in values:
            self._api.ReleaseValue(value)

    def __del__(self) -> None:
        """Let go of them, if nobody did."""
        self.close()

    def _side(self, memory: c_void_p, spans: Sequence[Span], *, out: bool = False) -> tuple[Any, ...]:
        """What Run takes of one side: names and values with their number, which comes last among outputs' names."""
        names = (c_char_p * len(spans))(*(span.name.encode() for span in spans))
        values = (c_void_p * len(spans))(*(self._value(memory, span) for span in spans))
        return (names, len(spans), values) if out else (names, values, len(spans))

    def _value(self, memory: c_void_p, span: Span) -> int | None:
        shape, rank = (c_int64 * len(span.shape))(*span.shape), len(span.shape)
        code = _ELEMENT_CODES[span.datatype]
        value = self._api.make(
            "CreateTensorWithDataAsOrtValue", memory, span.address, span.size, shape, rank, code
        ).value
        self._values.append(value)
        return value


def _config(tensors_root: str, prepack: bool, threads: int) -> Iterator[tuple[bytes, bytes]]:
    """Session configuration, by the keys of onnxruntime_session_options_config_keys.h."""
    yield b"session.model_external_initializers_file_folder_path", tensors_root.encode()
    # To spin from node to node takes less of the cores' time than to sleep and be woken; after a run it would burn the
    # CPU credits of a throttled environment.
    yield b"session.intra_op.allow_spinning", b"1" if threads > 1 else b"0"
    yield b"session.intra_op.spin_duration_us", SPIN_US
    yield b"session.inter_op.allow_spinning", b"0"
    if not prepack:
        yield b"session.disable_prepacking", b"1"


class _Buffer(ctypes.Structure):
    """CPython's Py_buffer (Include/pybuffer.h, part of the stable ABI since 3.11)."""

    _fields_ = (
        ("buf", c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", c_int),
        ("ndim", c_int),
        ("format", c_char_p),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("suboffsets", c_void_p),
        ("internal", c_void_p),
    )


_get_buffer: Any = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(_Buffer), c_int)
_release_buffer: Any = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(_Buffer),)
_release_buffer.restype = None
_SIMPLE = 0


def _run(api: Api, *arguments: Any) -> None:
    """Run; what a node says of its failure comes without numbers and quotations: errors are logged, inputs are not."""
    try:
        api.Run(*arguments)
    except ExecutionFailed as fault:
        where, told, why = str(fault).partition("Status Message:")
        raise ExecutionFailed(f"{where}{told}{_without_values(why)}") from None


def _without_values(message: str) -> str:
    import re  # noqa: PLC0415 - only a failure pays for it

    return re.sub(r"""\d[\d.e+-]*|'[^']*'|["][^"]*["]""", "…", message)
