"""ONNX Runtime's C API through ctypes: the functions that sessions need, typed; never holds state of its own.

The Python package `onnxruntime` cannot be imported without numpy: together they take three quarters of a worker's
cold start. The shared library that the same wheel carries (`onnxruntime/capi/libonnxruntime.so.*`) needs neither.

`OrtApi` is a struct of function pointers that only ever grows at its end: onnxruntime asserts at its own compile
time that versions never move (`static_assert(offsetof(OrtApi, ...) ...)` in onnxruntime_c_api.cc), so a function's
index is its name for good. The indices below are those of API version 14 (ONNX Runtime 1.14).
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from importlib.machinery import PathFinder

from registry.typed import Any
from runtime.errors import ExecutionFailed

API_VERSION = 14

_OUT = POINTER(c_void_p)
_STRINGS = POINTER(c_char_p)

# Functions that return a status: null, or an error to be read and released.
_CHECKED: dict[str, tuple[int, tuple[Any, ...]]] = {
    "CreateEnv": (3, (c_int, c_char_p, _OUT)),
    "CreateSessionFromArray": (8, (c_void_p, c_char_p, c_size_t, c_void_p, _OUT)),
    "Run": (9, (c_void_p, c_void_p, _STRINGS, _OUT, c_size_t, _STRINGS, c_size_t, _OUT)),
    "CreateSessionOptions": (10, (_OUT,)),
    "SetSessionLogSeverityLevel": (22, (c_void_p, c_int)),
    "SetSessionGraphOptimizationLevel": (23, (c_void_p, c_int)),
    "SetIntraOpNumThreads": (24, (c_void_p, c_int)),
    "SetInterOpNumThreads": (25, (c_void_p, c_int)),
    "SessionGetInputCount": (30, (c_void_p, POINTER(c_size_t))),
    "SessionGetOutputCount": (31, (c_void_p, POINTER(c_size_t))),
    "SessionGetInputTypeInfo": (33, (c_void_p, c_size_t, _OUT)),
    "SessionGetOutputTypeInfo": (34, (c_void_p, c_size_t, _OUT)),
    "SessionGetInputName": (36, (c_void_p, c_size_t, c_void_p, _OUT)),
    "SessionGetOutputName": (37, (c_void_p, c_size_t, c_void_p, _OUT)),
    "CreateTensorAsOrtValue": (48, (c_void_p, POINTER(c_int64), c_size_t, c_int, _OUT)),
    "CreateTensorWithDataAsOrtValue": (
        49,
        (c_void_p, c_void_p, c_size_t, POINTER(c_int64), c_size_t, c_int, _OUT),
    ),
    "GetTensorMutableData": (51, (c_void_p, _OUT)),
    "GetStringTensorDataLength": (53, (c_void_p, POINTER(c_size_t))),
    "GetStringTensorContent": (54, (c_void_p, c_void_p, c_size_t, POINTER(c_size_t), c_size_t)),
    "CastTypeInfoToTensorInfo": (55, (c_void_p, _OUT)),
    "GetTensorElementType": (60, (c_void_p, POINTER(c_int))),
    "GetDimensionsCount": (61, (c_void_p, POINTER(c_size_t))),
    "GetDimensions": (62, (c_void_p, POINTER(c_int64), c_size_t)),
    "GetTensorTypeAndShape": (65, (c_void_p, _OUT)),
    "CreateCpuMemoryInfo": (69, (c_int, c_int, _OUT)),
    "AllocatorFree": (76, (c_void_p, c_void_p)),
    "GetAllocatorWithDefaultOptions": (78, (_OUT,)),
    "CreateEnvWithGlobalThreadPools": (119, (c_int, c_char_p, c_void_p, _OUT)),
    "DisablePerSessionThreads": (120, (c_void_p,)),
    "CreateThreadingOptions": (121, (_OUT,)),
    "GetAvailableProviders": (125, (POINTER(_STRINGS), POINTER(c_int))),
    "ReleaseAvailableProviders": (126, (_STRINGS, c_int)),
    "AddSessionConfigEntry": (130, (c_void_p, c_char_p, c_char_p)),
    "SetGlobalIntraOpNumThreads": (147, (c_void_p, c_int)),
    "SetGlobalInterOpNumThreads": (148, (c_void_p, c_int)),
    "SetGlobalSpinControl": (149, (c_void_p, c_int)),
    "SessionOptionsAppendExecutionProvider_CUDA_V2": (204, (c_void_p, c_void_p)),
    "CreateCUDAProviderOptions": (205, (_OUT,)),
    "UpdateCUDAProviderOptions": (206, (c_void_p, _STRINGS, _STRINGS, c_size_t)),
    "GetResizedStringTensorElementBuffer": (252, (c_void_p, c_size_t, c_size_t, _OUT)),
}

_RELEASES: dict[str, int] = {
    "ReleaseStatus": 93,
    "ReleaseMemoryInfo": 94,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseTypeInfo": 98,
    "ReleaseTensorTypeAndShapeInfo": 99,
    "ReleaseSessionOptions": 100,
    "ReleaseThreadingOptions": 122,
    "ReleaseCUDAProviderOptions": 208,
}


class _ApiBase(ctypes.Structure):
    _fields_ = (
        ("GetApi", ctypes.CFUNCTYPE(c_void_p, c_uint32)),
        ("GetVersionString", ctypes.CFUNCTYPE(c_char_p)),
    )


class Api:
    """The functions, by their names in onnxruntime_c_api.h; each raises ExecutionFailed with the status's message.

    Calls release the GIL.
    """

    def __init__(self, library: str) -> None:
        loaded = ctypes.CDLL(library)
        loaded.OrtGetApiBase.restype = POINTER(_ApiBase)
        base = loaded.OrtGetApiBase().contents
        self.version: str = base.GetVersionString().decode()
        address = base.GetApi(API_VERSION)
        if not address:
            raise ImportError(
                f"ONNX Runtime {self.version} has no API {API_VERSION}; install onnxruntime 1.26 or newer"
            )
        table = ctypes.cast(address, _OUT)
        self._message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(table[2])
        self._table = table

    def __getattr__(self, name: str) -> Any:
        """A function, made when it is first used: a cold start needs half of them."""
        function: Any
        if name in _CHECKED:
            index, arguments = _CHECKED[name]
            function = ctypes.CFUNCTYPE(c_void_p, *arguments)(self._table[index])
            function.errcheck = self._check
        elif name in _RELEASES:
            function = ctypes.CFUNCTYPE(None, c_void_p)(self._table[_RELEASES[name]])
        else:
            raise AttributeError(name)
        setattr(self, name, function)
        return function

    def make(self, function: str, *arguments: Any) -> c_void_p:
        """The object that a function hands back through its last argument."""
        out = c_void_p()
        getattr(self, function)(*arguments, ctypes.byref(out))
        return out

    def _check(self, status: int | None, function: Any, arguments: Any) -> None:
        if status:
            message = " ".join(self._message(status).decode("utf-8", "replace").split())
            self.ReleaseStatus(status)
            raise ExecutionFailed(message[:500])


def find_library() -> str:
    """The path of the shared library in the installed onnxruntime wheel; raises ImportError saying what to install."""
    spec = PathFinder.find_spec("onnxruntime")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        capi = os.path.join(folder, "capi")
        names = sorted(os.listdir(capi)) if os.path.isdir(capi) else []
        for name in reversed(names):
            if name.startswith("libonnxruntime.so") or (name.startswith("libonnxruntime.") and name.endswith(".dylib")):
                return os.path.join(capi, name)
    raise ImportError("libonnxruntime is not installed; pip install 'onnxruntime>=1.26' (its Linux and macOS wheels)")
