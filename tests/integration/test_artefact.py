"""What is built is what runs: each artefact alone, under AWS's runtime client, with this repository out of sight."""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.environments.pool import Pool
from gateway.environments.spec import FunctionSpec, import_roots
from registry.blobs.files import Files
from registry.model import StartMode
from runtime.codecs import wire

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "infra" / "build" / "build.py"
HERE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"

RUNTIME_CLIENT = ("awslambdaric", "runtime_client*.so", "snapshot_restore_py*", "simplejson")
"""What the managed runtime brings: its client and what the client imports, as they lie in site-packages."""

Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def build() -> Build:
    """The build script as SAM calls it, for the interpreter and machine of this test."""

    def run(function: str, artifacts: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(BUILD), function, "--artifacts", str(artifacts), "--interpreter", sys.executable]
        target = ["--python", VERSION, "--architecture", HERE]
        return subprocess.run([*command, *target, *options], capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def artefact(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function's artefact, built once."""
    folder = tmp_path_factory.mktemp("artefacts")

    def made(function: str) -> Path:
        if not (folder / function).exists():
            done = build(function, folder / function)
            assert done.returncode == 0, done.stderr
        return folder / function

    return made


@pytest.fixture(scope="session")
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runtime client and nothing else, as /var/runtime is."""
    folder = tmp_path_factory.mktemp("var-runtime")
    site = Path(import_roots("awslambdaric")[0])
    for part in (part for pattern in RUNTIME_CLIENT for part in site.glob(pattern)):
        if part.is_dir():
            shutil.copytree(part, folder / part.name)
        else:
            shutil.copy(part, folder)
    return folder


@pytest.fixture
def model(tmp_path: Path, graphs: Any) -> tuple[Files, str]:
    """A blob store and the artifact of y = x @ W, W large enough to be a blob of its own."""
    from optimizer.artifact import make_artifact

    blobs = Files(tmp_path / "blobs")
    return blobs, make_artifact(graphs.linear(np.arange(32 * 16).reshape(32, 16)), blobs)


@pytest.mark.parametrize("start_mode", [StartMode.ONDEMAND, StartMode.SNAPSTART])
async def test_the_worker_answers_under_the_real_runtime_client(
    start_mode: StartMode,
    artefact: Callable[[str], Path],
    runtime_dir: Path,
    model: tuple[Files, str],
) -> None:
    blobs, digest = model
    spec = FunctionSpec(
        name="worker",
        handler="functions.worker.app.handler",
        task_root=artefact("worker"),
        python_path=(str(artefact("worker")), str(runtime_dir)),
        env={"MODELLESS_BLOBS": str(blobs.root), "MODELLESS_THREADS": "1"},
        start_mode=start_mode,
        concurrency=1,
    )
    rows = np.ones((2, 32), dtype=np.float32)
    event = {"kind": "infer", "id": "1", "task": "t", "variant": "t/v", "artifact": digest, "threads": 1}
    pool = Pool(spec, emit=lambda _: None)
    try:
        async with asyncio.timeout(60):
            answer = await pool.invoke(
                json.dumps({**event, "prepack": False, "inputs": wire.encode({"x": rows})}).encode()
            )
    finally:
        await pool.close()

    assert answer.error is None
    reply = json.loads(answer.payload)
    expected = rows @ np.arange(32 * 16, dtype=np.float32).reshape(32, 16)
    np.testing.assert_allclose(wire.decode(reply["outputs"])["y"], expected)
    assert reply["resident"] == ["t/v"]


def imports(root: Path, statement: str, *path: Path, **variables: str) -> Any:
    """What a bare interpreter prints, as JSON, that sees this artefact and nothing else."""
    done = subprocess.run(
        [sys.executable, "-S", "-s", "-P", "-c", statement],
        env={"PYTHONPATH": ":".join(map(str, (root, *path))), **variables},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SETTINGS = {
    "TABLE_NAME": "facts",
    "WORKERS": '{"lambda-1769-snapstart": "arn:aws:lambda:us-east-1:000000000000:function:w:live"}',
    "TENANT_CLAIM": "sub",
    "WARM_BUDGET_USD_PER_HOUR": "0.5",
}


@pytest.mark.parametrize("function", ["api", "scheduler", "prewarm", "evict"])
def test_a_deciding_function_starts_from_its_artefact_alone(function: str, artefact: Callable[[str], Path]) -> None:
    statement = (
        f"import functions.{function}.app as app, json, sys;"
        "print(json.dumps([callable(app.handler), app.__file__, sorted(sys.modules)]))"
    )
    works, file, modules = imports(artefact(function), statement, **SETTINGS)

    assert works
    assert Path(file) == artefact(function) / "functions" / function / "app.py"
    assert {"onnxruntime", "boto3", "botocore.client"}.isdisjoint(modules)


@pytest.mark.parametrize("function", ["api", "scheduler", "prewarm", "worker"])
def test_every_module_is_shipped_with_bytecode(function: str, artefact: Callable[[str], Path]) -> None:
    root = artefact(function)
    bare = [
        source
        for source in root.rglob("*.py")
        if not (source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc").exists()
    ]

    assert [str(path.relative_to(root)) for path in bare] == []


@pytest.mark.parametrize("service", ["dynamodb", "s3", "lambda", "sts"])
def test_the_trimmed_sdk_still_makes_its_clients(service: str, artefact: Callable[[str], Path]) -> None:
    statement = (
        f"import boto3, json; client = boto3.client({service!r}, region_name='us-east-1',"
        "aws_access_key_id='-', aws_secret_access_key='-'); print(json.dumps(client.meta.service_model.service_name))"
    )

    assert imports(artefact("worker"), statement) == service


def test_a_folder_that_is_not_empty_is_left_alone(build: Build, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")

    done = build("worker", tmp_path)

    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
