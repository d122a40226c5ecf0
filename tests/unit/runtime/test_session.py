"""Sessions over mapped weights: right answers, refused damage, shared memory, one thread pool."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.artifacts import read_manifest
from registry.blobs import blob_name
from registry.blobs.files import Files
from runtime.errors import CorruptArtifact, ExecutionFailed, Unreadable
from runtime.session import Session
from runtime.tensor import Tensor

MakeLinear = Callable[..., str]
RunPython = Callable[..., Any]

NUMBERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")


def damage(file: Path) -> None:
    """Flip the last byte of a read-only file."""
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-1] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize("prepack", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_it_computes_what_the_model_says(
    blobs: Files, linear: str, weights: NDArray[np.float32], threads: int, prepack: bool
) -> None:
    session = Session.open(blobs, linear, threads=threads, prepack=prepack)
    x = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)

    outputs = session.run({"x": x})

    assert list(outputs) == ["y"]
    np.testing.assert_allclose(outputs["y"], x @ weights, rtol=1e-5, atol=1e-5)


def test_read_only_and_strided_inputs_are_taken(blobs: Files, linear: str, weights: NDArray[np.float32]) -> None:
    session = Session.open(blobs, linear, threads=1, prepack=False)
    x = np.arange(3 * 64, dtype=np.float32).reshape(64, 3).T
    x.flags.writeable = False

    np.testing.assert_allclose(session.run({"x": x})["y"], x @ weights, rtol=1e-4)


def test_every_datatype_goes_through_unchanged(blobs: Files, every_type: str) -> None:
    session = Session.open(blobs, every_type, threads=1, prepack=False)
    numbers = {
        kind: np.array([[0, 1], [2, 100]], dtype=kind)
        for kind in ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
    }
    text = np.array([[b"", "é".encode()], [b"zero\x00inside", b"x" * 1000]], dtype=object)
    inputs = numbers | {"bool": np.array([[True, False], [False, True]]), "text": text}

    outputs = session.run(inputs)

    for name, array in inputs.items():
        assert outputs[f"{name}_out"].dtype == array.dtype
        np.testing.assert_array_equal(outputs[f"{name}_out"], array)


def test_a_tensor_without_elements_goes_through(blobs: Files, every_type: str) -> None:
    session = Session.open(blobs, every_type, threads=1, prepack=False)
    kinds = {"bool": np.bool_, "text": object} | {
        k: k for k in ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
    }

    outputs = session.run({name: np.empty((0, 2), dtype=kind) for name, kind in kinds.items()})

    assert {array.shape for array in outputs.values()} == {(0, 2)}


def test_tensors_as_they_travel_need_no_arrays(blobs: Files, gather: str) -> None:
    session = Session.open(blobs, gather, threads=1, prepack=False)

    outputs = session.run_tensors({"i": Tensor("INT64", (1,), (2).to_bytes(8, "little"))})

    assert outputs == {"y": Tensor("FP32", (1, 2), np.float32([5, 6]).tobytes())}


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"x": np.zeros((1, 3), np.float32)}, "Got: 3 Expected: 64"),
        ({"x": np.zeros((1, 64), np.float64)}, "Unexpected input data type"),
        ({}, "x"),
        ({"z": np.zeros((1, 64), np.float32)}, "z"),
    ],
)
def test_inputs_that_do_not_fit_fail_with_the_reason(
    blobs: Files, linear: str, inputs: dict[str, NDArray[Any]], reason: str
) -> None:
    session = Session.open(blobs, linear, threads=1, prepack=False)

    with pytest.raises(ExecutionFailed, match=reason):
        session.run(inputs)


def test_a_failed_run_leaves_the_session_usable(blobs: Files, gather: str) -> None:
    session = Session.open(blobs, gather, threads=1, prepack=False)

    with pytest.raises(ExecutionFailed, match="indices element out of data bounds"):
        session.run({"i": np.array([99])})

    np.testing.assert_array_equal(session.run({"i": np.array([1])})["y"], [[3, 4]])


def test_a_rehearsal_runs_on_zeros(blobs: Files, linear: str, every_type: str) -> None:
    for digest in (linear, every_type):
        Session.open(blobs, digest, threads=1, prepack=False).rehearse()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("part", ["manifest", "graph", "tensor"])
def test_damaged_bytes_are_never_loaded(blobs: Files, linear: str, part: str, threads: int) -> None:
    manifest = read_manifest(blobs, linear)
    digest = {"manifest": linear, "graph": manifest.graph, "tensor": manifest.tensors[0].digest}[part]
    damage(blobs.root / blob_name(digest))

    with pytest.raises(CorruptArtifact, match=digest):
        Session.open(blobs, linear, threads=threads, prepack=False)


@pytest.mark.parametrize("layer", range(6))
def test_damage_is_found_whichever_thread_meets_it(blobs: Files, deep: str, layer: int) -> None:
    digest = read_manifest(blobs, deep).tensors[layer].digest
    damage(blobs.root / blob_name(digest))

    with pytest.raises(CorruptArtifact, match=digest):
        Session.open(blobs, deep, threads=4, prepack=False)


def test_missing_bytes_are_corruption_too(blobs: Files, linear: str) -> None:
    digest = read_manifest(blobs, linear).tensors[0].digest
    (blobs.root / blob_name(digest)).unlink()

    with pytest.raises(CorruptArtifact, match=digest):
        Session.open(blobs, linear, threads=1, prepack=False)


@pytest.mark.parametrize("part", ["manifest", "graph", "tensor"])
def test_bytes_that_the_storage_does_not_give_are_no_corruption(blobs: Files, linear: str, part: str) -> None:
    manifest = read_manifest(blobs, linear)
    digest = {"manifest": linear, "graph": manifest.graph, "tensor": manifest.tensors[0].digest}[part]
    file = blobs.root / blob_name(digest)
    file.unlink()
    file.mkdir()

    with pytest.raises(Unreadable, match="directory"):
        Session.open(blobs, linear, threads=1, prepack=False)


def test_a_graph_that_is_none_fails_to_load(blobs: Files) -> None:
    from registry.artifacts import write_artifact

    digest = write_artifact(blobs, b"\xff\xff not a graph")

    with pytest.raises(ExecutionFailed):
        Session.open(blobs, digest, threads=1, prepack=False)


def test_the_weights_of_a_second_session_cost_no_private_memory(
    blobs: Files, make_linear: MakeLinear, run_python: RunPython
) -> None:
    w = np.random.default_rng(1).normal(size=(1024, 5120)).astype(np.float32)  # 20 MiB
    digests = [make_linear(w, bias) for bias in (0.0, 1.0)]

    grown = run_python(
        """
import json, sys, time
from pathlib import Path
from registry.blobs.files import Files
from runtime.memory import private_mb
from runtime.session import Session
from runtime.tensor import Tensor
blobs, grown, kept = Files(Path(sys.argv[1])), [], []
for digest in sys.argv[2:]:
    before = private_mb()
    session = Session.open(blobs, digest, threads=1, prepack=False)
    session.run_tensors({"x": Tensor("FP32", (1, 1024), bytes(4096))})
    kept.append(session)
    grown.append(private_mb() - before)
print(json.dumps([*grown, *(session.private_mb for session in kept)]))
""",
        str(blobs.root),
        *digests,
    )

    assert grown[0] < 12, "the library itself, not the 20 MiB of weights"
    assert grown[1] < 2
    assert max(grown[2:]) < 2, "the library is charged to no session"


def test_fifty_sessions_share_one_pool(blobs: Files, linear: str, run_python: RunPython) -> None:
    counts = run_python(
        """
import json, os, sys
from pathlib import Path
from registry.blobs.files import Files
from runtime.errors import PoolTooLate
from runtime.session import Session, use_global_pool
def threads(): return len(os.listdir("/proc/self/task"))
blobs, counts = Files(Path(sys.argv[1])), [threads()]
use_global_pool(3)
use_global_pool(3)
counts.append(threads())
sessions = [Session.open(blobs, sys.argv[2], threads=8, prepack=False) for _ in range(50)]
counts.append(threads())
try: use_global_pool(2)
except PoolTooLate as late: counts.append(str(late))
print(json.dumps(counts))
""",
        str(blobs.root),
        linear,
    )

    before, pooled, fifty, late = counts
    assert pooled == fifty == before + 2, "a pool of three threads is two and the caller's"
    assert "3 threads" in late


def test_the_library_starts_no_thread_of_its_own(run_python: RunPython) -> None:
    threads = run_python("from runtime import ort; import os; ort.start(); print(len(os.listdir('/proc/self/task')))")

    assert threads == 1, "its telemetry is off"


def test_a_pool_after_a_session_is_too_late(blobs: Files, linear: str, run_python: RunPython) -> None:
    said = run_python(
        """
import json, sys
from pathlib import Path
from registry.blobs.files import Files
from runtime.errors import PoolTooLate
from runtime.session import Session, use_global_pool
Session.open(Files(Path(sys.argv[1])), sys.argv[2], threads=1, prepack=False)
try: use_global_pool(2)
except PoolTooLate as late: print(json.dumps(str(late)))
""",
        str(blobs.root),
        linear,
    )

    assert "before the first" in said


def test_neither_numpy_nor_the_onnxruntime_package_is_imported(
    blobs: Files, linear: str, run_python: RunPython
) -> None:
    loaded = run_python(
        """
import json, sys
from registry.blobs.files import Files
from runtime.codecs import wire
from runtime.session import Session
session = Session.open(Files(sys.argv[1]), sys.argv[2], threads=1, prepack=True)
session.rehearse()
heavy = ("numpy", "onnxruntime", "dataclasses", "boto3")
print(json.dumps([m for m in heavy if m in sys.modules]))
""",
        str(blobs.root),
        linear,
    )

    assert loaded == []


def test_several_threads_run_one_session_at_once(blobs: Files, gather: str) -> None:
    session = Session.open(blobs, gather, threads=1, prepack=False)

    def run(i: int) -> bool:
        expected = [[2.0 * (i % 3) + 1, 2.0 * (i % 3) + 2]]
        return all(session.run({"i": np.array([i % 3])})["y"].tolist() == expected for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(8)))
