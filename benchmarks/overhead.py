"""What serving adds to a run: an HTTP answer against a bare onnxruntime `session.run` of the same variant and rows.

The server is `modelless up` in a process of its own; the client is this one, over one keep-alive connection. Bare and
served runs take turns; the outputs must be equal.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Row, interleaved, run
from benchmarks.http_client import HttpClient
from gateway.local import open_blobs, open_store
from optimizer.artifact import make_artifact
from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import local_tiers
from registry.store import update

WIDTHS = {"small": (64, 32, 10), "large": (64, 4096, 4096, 2048, 10)}
"""Layers of the two variants: 10 KB and 100 MB of weights, under one signature, as variants of one task have."""

TIERS = {tier.name: tier.threads for tier in local_tiers() if tier.name in ("inline", "process-1769")}
"""Tier to the threads of one run."""

WARM_UP = 50
CALLERS = 4


class Case(NamedTuple):
    """One variant on one tier; the task has no other placement, so that no choice is left."""

    name: str
    tier: str
    threads: int
    inputs: NDArray[np.float32]

    @property
    def task(self) -> str:
        return f"{self.name}-{self.tier}"


def rows(quick: bool) -> Sequence[Row]:
    """One row for each variant and tier."""
    repeats, seconds = (300, 1.0) if quick else (3000, 5.0)
    random = np.random.default_rng(7)
    cases = [
        Case(name, tier, threads, random.random((1, widths[0]), np.float32))
        for name, widths in WIDTHS.items()
        for tier, threads in TIERS.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        blobs = open_blobs(home)
        artifacts = {name: make_artifact(_mlp(widths), blobs) for name, widths in WIDTHS.items()}
        sessions = {case.task: _bare(blobs, artifacts[case.name], case.threads) for case in cases}
        _publish(home, cases, artifacts, sessions)
        with _serving(home) as url, HttpClient(url) as client:
            return [
                _measure(case, sessions[case.task], url, client, repeats=repeats, seconds=seconds) for case in cases
            ]


def _measure(
    case: Case, session: Any, url: str, client: HttpClient, *, repeats: int, seconds: float
) -> dict[str, str | float]:
    body = json.dumps({"inputs": case.inputs.tolist()}).encode()
    request = client.request(f"/v1/tasks/{case.task}/predict", body)
    expected = session.run(None, {"x": case.inputs})[0]
    for _ in range(WARM_UP):
        session.run(None, {"x": case.inputs})
        answer = json.loads(client.send(request))
    assert answer["decision"]["tier"] == case.tier
    np.testing.assert_allclose(np.array(answer["outputs"]["y"], np.float32), expected, rtol=1e-5, atol=1e-6)
    samples = interleaved(
        {
            "bare": lambda: timed(lambda: session.run(None, {"x": case.inputs})),
            "served": lambda: timed(lambda: client.send(request)),
        },
        repeats,
    )
    bare, served = np.array(samples["bare"]), np.array(samples["served"])
    return {
        "tier": case.tier,
        "variant": case.name,
        "bare_p50_ms": float(np.median(bare)),
        "served_p50_ms": float(np.median(served)),
        "added_p50_ms": float(np.median(served) - np.median(bare)),
        "added_p99_ms": float(np.quantile(served, 0.99) - np.median(bare)),
        "rps": rate(url, request, seconds),
    }


def timed(call: Callable[[], Any]) -> float:
    """Milliseconds that a call takes."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def rate(url: str, request: bytes, seconds: float) -> float:
    """Answers a second that CALLERS get who each send a request when they have the answer to the last."""
    counts = [0] * CALLERS
    end = time.perf_counter() + seconds

    def call(i: int) -> None:
        with HttpClient(url) as client:
            while time.perf_counter() < end:
                client.send(request)
                counts[i] += 1

    callers = [threading.Thread(target=call, args=(i,)) for i in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(counts) / seconds


def _mlp(widths: Sequence[int]) -> bytes:
    """A perceptron of these layers with fixed random weights, as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(len(widths))
    nodes, weights, name = [], [], "x"
    for i, (rows_in, columns) in enumerate(pairwise(widths)):
        scaled = random.standard_normal((rows_in, columns), np.float32) / np.sqrt(rows_in, dtype=np.float32)
        weights.append(numpy_helper.from_array(scaled, f"w{i}"))
        last = i == len(widths) - 2
        nodes.append(helper.make_node("MatMul", [name, f"w{i}"], ["y" if last else f"m{i}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"m{i}"], [f"h{i}"]))
            name = f"h{i}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", widths[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", widths[-1]])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(made.SerializeToString())


def _bare(blobs: Blobs, artifact: str, threads: int) -> Any:
    """onnxruntime's own session over the artifact's graph, set up as the runtime sets its own up."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(blobs.root))
    graph = blobs.get(read_manifest(blobs, artifact).graph)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _publish(home: Path, cases: Sequence[Case], artifacts: dict[str, str], sessions: dict[str, Any]) -> None:
    store = open_store(home)
    update(store, lambda catalogue: _with(catalogue.with_tiers(*local_tiers()), cases, artifacts, sessions))
    store.close()


def _with(
    catalogue: Catalogue, cases: Sequence[Case], artifacts: dict[str, str], sessions: dict[str, Any]
) -> Catalogue:
    for case in cases:
        widths = WIDTHS[case.name]
        inputs, outputs = TensorSpec("x", "FP32", (-1, widths[0])), TensorSpec("y", "FP32", (-1, widths[-1]))
        task = Task(case.task, (inputs,), (outputs,), "accuracy")
        accuracy = Accuracy(0.9, 0.9, 0.9, 1, "wilson")
        variant = Variant(task.name, case.name, artifacts[case.name], Recipe("benchmark"), accuracy)
        placement = Placement(variant.id, case.tier, threads=case.threads)
        catalogue = catalogue.with_tasks(task).with_variants(variant).with_placements(placement)
        catalogue = catalogue.with_profiles(_profile(placement, sessions[case.task], case.inputs))
    return catalogue


def _profile(placement: Placement, session: Any, inputs: NDArray[np.float32]) -> Profile:
    """What the scheduler needs to choose the one placement there is: its bare run time."""
    samples = [timed(lambda: session.run(None, {"x": inputs})) for _ in range(20)]
    latency = Quantiles(tuple(np.quantile(samples, LEVELS).tolist()), float(np.mean(samples)))
    service = (ServiceTime(1, latency, latency.mean),)
    return Profile(placement.id, service, ZERO, ZERO, 1.0, "benchmark", "none", len(samples), "now")


@contextmanager
def _serving(home: Path) -> Iterator[str]:
    """The URL of `modelless up` over a home, in a process of its own."""
    start = "import sys; from cli.main import main; sys.argv[0] = 'modelless'; main()"
    command = [sys.executable, "-c", start, "up", "--home", str(home), "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"]
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    raise SystemExit(run("overhead", rows))
