"""`modelless container` as people run it: a process that serves a folder, is looked after, and drains on Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.container.health import healthy

RUN = "from cli.main import main; main()"
PATIENCE_S = 60.0


def model(scale: float) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "s"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.float32(scale), "s")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(made.SerializeToString())


@dataclass
class Served:
    """A container that runs, and what it printed when it listened."""

    process: subprocess.Popen[str]
    line: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.line["url"])

    @property
    def variables(self) -> dict[str, str]:
        return {"MODELLESS_CONTAINER_PORT": self.url.rpartition(":")[2]}


def modelless(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", RUN, "container", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    for version in (1, 2):
        folder = tmp_path / "scale" / str(version)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(model(version))
    command = [sys.executable, "-P", "-c", RUN, "container", "up", "--models", str(tmp_path), "--port", "0"]
    process = subprocess.Popen([*command, "--load", "none", "--json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Served(process, json.loads(process.stdout.readline()))
    process.kill()
    process.wait()
    process.stdout.close()


def test_it_serves_is_looked_after_and_ends_well(served: Served) -> None:
    assert served.line["pid"] == served.process.pid
    assert healthy(served.variables)
    listed = json.loads(modelless("models", served.url, "--json").stdout)["models"]
    assert [(entry["name"], entry["version"], entry["state"]) for entry in listed] == [
        ("scale", "2", "UNAVAILABLE"),
        ("scale", "1", "UNAVAILABLE"),
    ]
    assert modelless("load", served.url, "scale", "--version", "1", "--pin").returncode == 0
    (pinned,) = [line.split() for line in modelless("models", served.url).stdout.splitlines() if "READY" in line]
    assert pinned == ["scale", "1", "READY", "pinned"]
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [3, 4]}]}
    answer = httpx.post(f"{served.url}/v2/models/scale/versions/1/infer", json=body).json()
    assert (answer["outputs"][0]["data"], answer["parameters"]["loaded"]) == ([3.0, 4.0], False)
    stats = json.loads(modelless("stats", served.url, "scale", "--version", "1", "--json").stdout)
    assert [entry["inference_count"] for entry in stats["model_stats"]] == [1]
    assert modelless("unload", served.url, "scale").returncode == 0
    assert "READY" not in modelless("models", served.url).stdout
    unknown = modelless("load", served.url, "scales")
    assert (unknown.returncode, "scales" in unknown.stderr) == (2, True)
    os.kill(served.process.pid, signal.SIGINT)
    assert served.process.wait(PATIENCE_S) == 0
    assert not healthy(served.variables)


def test_a_port_that_is_taken_is_said(served: Served, tmp_path: Path) -> None:
    result = modelless("up", "--models", str(tmp_path), "--port", served.url.rpartition(":")[2])
    assert result.returncode == 2
    assert "Address already in use" in result.stderr
