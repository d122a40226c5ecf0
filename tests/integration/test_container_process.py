"""The container as a process of its own: how it starts, what it says, what it gives back, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
WIDE = np.eye(1024, dtype=np.float32)

MakeFolder = Callable[[dict[str, bytes]], Path]


@contextmanager
def started(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "runtime.server", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, line or process.communicate()
    return found[0]


def anonymous_mb(pid: int) -> float:
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def tensor(row: list[float]) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, len(row)], "data": row}]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(folder_of: MakeFolder, graphs: Any, number: int) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    options = ("--models", str(root), "--port=0", "--cores", "1")
    with started(*options) as process, httpx.Client(base_url=url_of(process), timeout=PATIENCE_S) as http:
        response = http.post("/v2/models/m/infer", json=tensor([1.0] * 4))
        assert response.json()["outputs"][0]["data"] == [2.0] * 4
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0


def test_it_can_be_told_to_stop_while_it_starts(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({f"m{i}": graphs.scaled(2.0) for i in range(2000)})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with started("--models", str(root), "--port", str(port), "--cores", "1") as process:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=100)) as http:
            while "modelless_container_loaded 0" in http.get("/metrics").text:
                pass
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out, error) == (0, "", "")


def test_memory_is_free_when_a_model_is_deleted(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({f"m{i}/model": graphs.linear(WIDE * (i + 1)) for i in range(4)})
    variables = {
        "MODELLESS_CONTAINER_MODELS": str(root),
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BIND_TO_PORT": "0",
    }
    with started(**variables) as process, httpx.Client(base_url=url_of(process), timeout=PATIENCE_S) as http:
        for i in range(4):
            http.post("/models", json={"model_name": f"m{i}", "url": str(root / f"m{i}/model")}).raise_for_status()
            http.post(f"/models/m{i}/invoke", json=tensor([1.0] * 1024)).raise_for_status()
        for i in range(4):
            before = anonymous_mb(process.pid)
            http.delete(f"/models/m{i}").raise_for_status()
            # Its weights are four megabytes.
            assert before - anonymous_mb(process.pid) > 3.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "/nowhere/at/all"], "models.*/nowhere/at/all is no folder"),
        (["--home", "/nowhere/at/all"], "home.*/nowhere/at/all is no folder"),
        (["serve"], "models.*/opt/ml/model is no folder; .*--models DIR"),
        (["--port", "99999"], "--port.*not a whole number"),
        (["--models"], "--models: has no value"),
        (["models"], "models: is no option"),
        (["--speed", "11"], "--speed: is no setting; .*--port"),
        (["--providers", "CUDA"], "built without CUDA; install onnxruntime-gpu"),
        (["--providers", "TPU"], "not of CUDA, CPU"),
        (["--load", "nope"], "model 'nope' is not known"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(tmp_path: Path, arguments: list[str], message: str) -> None:
    place = [] if arguments[0] in ("--models", "--home", "serve") else ["--models", str(tmp_path)]
    with started(*place, *arguments) as process:
        _, error = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        assert re.search(message, error), error


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with started("--models", str(tmp_path), "--port", "0") as first:
        port = url_of(first).rpartition(":")[2]
        with started("--models", str(tmp_path), "--port", port) as second:
            _, error = second.communicate(timeout=PATIENCE_S)
            assert second.returncode == 2
            assert f"cannot listen on 127.0.0.1:{port}" in error


def test_a_grpc_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with started("--models", str(tmp_path), "--port", "0", "--grpc-port", port) as process:
            _, error = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 2
            assert re.search(f"error: grpc_port: cannot listen on 127.0.0.1:{port}", error), error
            assert "Traceback" not in error


def test_nothing_that_a_first_answer_does_not_need_is_imported(folder_of: MakeFolder, graphs: Any) -> None:
    root = folder_of({"m": graphs.scaled(2.0)})
    script = f"""
import asyncio, json, sys
from pathlib import Path
from runtime.container.settings import Settings
from runtime.server import serving

async def main():
    async with serving(Settings(models=Path({str(root)!r}), port=0)):
        names = ("pydantic", "onnx", "onnxruntime", "starlette", "uvicorn", "prometheus_client", "grpc", "boto3", "PIL")
        print(json.dumps([name for name in names if name in sys.modules]))

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == []
