"""The worker function: settings named at cold start, snapshot hooks, light imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run_app(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter with only these environment variables."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | variables
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


def settings(folder: Path, **changes: str) -> dict[str, str]:
    """Good settings, changed."""
    good = {"MODELLESS_BLOBS": str(folder), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769", "MODELLESS_THREADS": "1"}
    return good | changes


def test_every_missing_variable_is_named_at_once() -> None:
    done = run_app("import functions.worker.app")

    assert done.returncode == 1
    for name in ("MODELLESS_BLOBS", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "MODELLESS_THREADS"):
        assert name in done.stderr.splitlines()[-1]


def test_a_variable_that_is_no_number_is_named(tmp_path: Path) -> None:
    done = run_app("import functions.worker.app", **settings(tmp_path, MODELLESS_THREADS="many"))

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "MODELLESS_THREADS" in last
    assert "MODELLESS_BLOBS" not in last


def test_where_a_key_is_named_what_it_has_not_signed_is_refused(tmp_path: Path) -> None:
    script = """
from functions.worker import app
try:
    app.handler({"kind": "warm", "variant": "t/v", "artifact": "blake3:" + "0" * 64}, None)
except Exception as fault:
    print(type(fault).__name__)
"""
    key = "arn:aws:kms:us-east-1:111111111111:key/k"

    assert run_app(script, **settings(tmp_path, SIGNING_KEY_ARN=key)).stdout == "Unsigned\n"
    assert run_app(script, **settings(tmp_path)).stdout == "CorruptArtifact\n"


def test_a_preload_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    done = run_app("import functions.worker.app", **settings(tmp_path, MODELLESS_PRELOAD="nonsense"))

    assert done.returncode == 1
    assert "MODELLESS_PRELOAD" in done.stderr.splitlines()[-1]


def run_json(script: str, **variables: str) -> Any:
    """What a script prints."""
    done = run_app(script, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_answers_and_registers_the_hooks(tmp_path: Path) -> None:
    said = run_json(
        """
import json
import snapshot_restore_py as snapshots
from functions.worker import app
first = app.handler({"kind": "status"}, None)
for hook, args, kwargs in snapshots.get_before_snapshot() + snapshots.get_after_restore(): hook(*args, **kwargs)
print(json.dumps([first, app.handler({"kind": "status"}, None)]))
""",
        **settings(tmp_path, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start"),
    )

    assert said[0]["resident"] == []
    assert said[0]["environment"] != said[1]["environment"]


def test_the_handler_stays_thin() -> None:
    assert len((ROOT / "functions/worker/app.py").read_text().splitlines()) <= 80


@pytest.mark.parametrize(
    ("place", "prefix"), [("s3://b", ""), ("s3://b/", ""), ("s3://b/some/where", "some/where/"), ("s3://b/p/", "p/")]
)
def test_an_s3_place_is_a_bucket_and_a_prefix(tmp_path: Path, place: str, prefix: str) -> None:
    said = run_json(
        f"""
import json
import registry.blobs.s3 as s3
s3.S3Blobs = lambda bucket, cache, prefix: (bucket, prefix)
from functions.worker import app
print(json.dumps(app.open_blobs({place!r})))
""",
        **settings(tmp_path),
    )

    assert said == ["b", prefix]
