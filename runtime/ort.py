"""The one door to ONNX Runtime: session options and errors as this platform uses them; never a policy.

Importing this module costs nothing; onnxruntime itself (about 30 ms beyond numpy) is imported when a session opens.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from runtime.errors import ExecutionFailed, PoolTooLate

_pool_lock = threading.Lock()
_pool_threads: int | None = None
_sessions_opened = False


def use_global_pool(threads: int) -> None:
    """Make every session of this process compute on one pool of `threads` threads, the caller's included.

    Without it each session has a pool of its own. Call it once, before the first session opens; asking again for the
    same size changes nothing. Raises PoolTooLate otherwise.
    """
    global _pool_threads  # noqa: PLW0603 - the pool is ONNX Runtime's own process-wide state
    with _pool_lock:
        if _pool_threads == threads:
            return
        if _pool_threads is not None:
            raise PoolTooLate(f"the global pool has {_pool_threads} threads; ask for that many, or restart the process")
        if _sessions_opened:
            raise PoolTooLate("a session is open already; make the pool before the first one")
        import onnxruntime  # noqa: PLC0415 - imported when first needed

        onnxruntime.set_global_thread_pool_sizes(threads, 1)
        _pool_threads = threads


def create(graph: bytes, tensors_root: Path, *, threads: int, prepack: bool) -> Any:
    """An onnxruntime session over an already optimised graph whose external tensors lie under `tensors_root`.

    Raises ExecutionFailed with ONNX Runtime's reason.
    """
    import onnxruntime as ort  # noqa: PLC0415 - imported when first needed

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    set_threads(options, threads)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(tensors_root))
    # A spinning thread burns the CPU credits of a throttled environment while it waits.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except faults() as fault:
        raise ExecutionFailed(f"cannot load the graph: {reason(fault)}") from fault


def set_threads(options: Any, threads: int) -> None:
    """Give a session that is about to open the global pool, or `threads` threads of its own where there is none.

    Every session of the process needs this: onnxruntime refuses one with its own threads beside a global pool.
    """
    global _sessions_opened  # noqa: PLW0603 - see above
    with _pool_lock:
        _sessions_opened = True
        pooled = _pool_threads is not None
    if pooled:
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1


def faults() -> tuple[type[Exception], ...]:
    """Every class that onnxruntime's calls raise: its status classes have no common root but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415 - imported when first needed

    statuses = tuple(v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception))
    return (*statuses, RuntimeError, ValueError, TypeError)


def reason(fault: BaseException) -> str:
    """ONNX Runtime's own words, on one line of at most 500 characters."""
    return " ".join(str(fault).split())[:500]
