"""A worker's line about a load: its tier by its memory and kind of start, and only where somebody counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from functions.aws.loads import tell_of_load
from optimizer.artifact import make_artifact
from registry.blobs.files import Files
from runtime.codecs import wire

ROOT = Path(__file__).resolve().parents[3]

REPLY = {"loaded": True, "load_ms": 12.5, "environment": "e1", "outputs": [{"data": "AAAA"}]}


@pytest.mark.parametrize(("kind", "tier"), [("snap-start", "lambda-1769-snapstart"), ("on-demand", "lambda-1769")])
def test_a_load_counts_for_the_tier(kind: str, tier: str, capsys: Any) -> None:
    variables = {
        "STACK_NAME": "stack",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
    }
    tell_of_load("digits/cnn", REPLY, variables)

    line = json.loads(capsys.readouterr().out)
    assert (line["ModelLoads"], line["LoadTime"], line["tier"]) == (1, 12.5, tier)
    assert (line["service"], line["variant"], line["environment"]) == ("stack-worker", "digits/cnn", "e1")
    assert "outputs" not in line


def test_a_worker_counts_its_loads_and_no_other_answer(tmp_path: Path, graphs: Any) -> None:
    digest = make_artifact(graphs.scaled(2.0), Files(tmp_path))
    infer = {"kind": "infer", "variant": "t/v", "artifact": digest, "inputs": wire.encode({"x": np.ones((1, 4), "f4")})}
    script = "import json, sys; from functions.worker import app; [app.handler(e, None) for e in json.load(sys.stdin)]"
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "MODELLESS_BLOBS": str(tmp_path),
        "MODELLESS_THREADS": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
    }

    def lines(**more: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**variables, **more},
            input=json.dumps([infer, {"kind": "status"}, infer]),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert [line["ModelLoads"] for line in lines(STACK_NAME="stack")] == [1]
    assert lines() == []
