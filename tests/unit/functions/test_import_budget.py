"""What each function may import before its first event: a cold start pays for all of it (docs/fast-start.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.environments.spec import import_roots
from optimizer.artifact import make_artifact
from registry.blobs.files import Files
from runtime.codecs import wire

ROOT = Path(__file__).resolve().parents[3]
OURS = {"functions", "gateway", "optimizer", "registry", "runtime", "scheduler"}


@dataclass(frozen=True)
class Budget:
    """A function's imports."""

    foreign: frozenset[str]
    """Packages outside the standard library and this repository."""
    modules: int
    """Most modules, a tenth above what it takes here (Python versions differ a little), so that growth is noticed."""
    without: frozenset[str]
    """Of the standard library and of allowed packages, what it must do without: each takes milliseconds."""


SDK = frozenset({"boto3", "botocore.session", "botocore.client", "urllib3"})

BUDGETS = {
    "worker": Budget(
        foreign=frozenset({"blake3"}),
        modules=78,
        without=frozenset({"asyncio", "dataclasses", "hashlib", "http", "inspect", "logging", "pathlib"})
        | {"ssl", "subprocess", "tempfile", "typing", "urllib"},
    ),
    "scheduler": Budget(foreign=frozenset({"numpy"}), modules=245, without=frozenset({"asyncio", "ssl", *SDK})),
    "api": Budget(
        foreign=frozenset(
            {
                "numpy",
                "orjson",
                "pydantic",
                "pydantic_core",
                "annotated_types",
                "typing_extensions",
                "typing_inspection",
                "aws_lambda_powertools",
                "jmespath",
                # The package alone, for its user agent, by Powertools: a third of a millisecond.
                "botocore",
            }
        ),
        modules=655,
        without=SDK,
    ),
    "feedback": Budget(
        foreign=frozenset({"numpy", "aws_lambda_powertools", "typing_extensions", "jmespath", "botocore"}),
        modules=455,
        without=SDK | {"pydantic"},
    ),
    "jobs": Budget(
        foreign=frozenset({"numpy", "orjson", "aws_lambda_powertools", "typing_extensions", "jmespath", "botocore"}),
        modules=455,
        without=SDK | {"pydantic", "PIL"},
    ),
    # It makes models, minutes long: what it imports is what makes them.
    "optimize": Budget(
        foreign=frozenset(
            {
                "numpy",
                "aws_lambda_powertools",
                "typing_extensions",
                "jmespath",
                "botocore",
                "onnx",
                "onnxruntime",
                "google",
                "ml_dtypes",
                "packaging",
                "blake3",
                "orjson",
                "yaml",
            }
        ),
        modules=690,
        without=SDK | {"pydantic", "sklearn", "onnxruntime.quantization", "onnxruntime.transformers"},
    ),
    **dict.fromkeys(("prewarm", "evict"), Budget(frozenset({"numpy"}), modules=340, without=SDK)),
}


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Good settings of every function, and the path that an environment has."""
    return {
        "PATH": os.defpath,
        "PYTHONPATH": ":".join((str(ROOT), *import_roots("numpy", "aws_lambda_powertools"))),
        "TABLE_NAME": "facts",
        "WORKERS": '{"lambda-1769-snapstart": "arn"}',
        "TENANT_CLAIM": "sub",
        "FEEDBACK_QUEUE_URL": "https://queue",
        "JOBS_QUEUE_URL": "https://queue",
        "BUCKET_NAME": "bucket",
        "WARM_BUDGET_USD_PER_HOUR": "0.5",
        "MODELLESS_BLOBS": str(tmp_path),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "MODELLESS_THREADS": "1",
    }


def imported(statements: str, variables: dict[str, str]) -> set[str]:
    """The modules that statements import in a bare interpreter, as an environment starts one."""
    program = f"import sys; before = set(sys.modules); {statements}; print(*(set(sys.modules) - before))"
    command = [sys.executable, "-S", "-s", "-P", "-c", program]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def foreign(modules: set[str]) -> set[str]:
    """The packages among modules that are neither the standard library's nor ours."""
    packages = {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) - OURS
    # How this interpreter was built, and what numpy.random was compiled with, under names of their own.
    return {package for package in packages if not package.startswith(("_sysconfigdata", "_cython_", "cython_runtime"))}


@pytest.mark.parametrize("function", sorted(BUDGETS))
def test_a_cold_start_imports_only_what_it_needs(function: str, variables: dict[str, str]) -> None:
    budget = BUDGETS[function]
    if function == "optimize":  # where the api has one, it asks for variants, too
        variables["OPTIMIZE_QUEUE_URL"] = "https://queue"
    modules = imported(f"import functions.{function}.app", variables)

    assert foreign(modules) <= budget.foreign
    assert modules & budget.without == set()
    assert len(modules) <= budget.modules, f"{len(modules)} modules; see docs/fast-start.md before raising this"


def test_a_workers_first_answer_imports_no_more(variables: dict[str, str], tmp_path: Path, graphs: Any) -> None:
    digest = make_artifact(graphs.scaled(2.0), Files(tmp_path))
    event = {
        "kind": "infer",
        "variant": "t/v",
        "artifact": digest,
        "inputs": wire.encode({"x": np.ones((1, 4), np.float32)}),
    }
    statements = (
        f"import json; from functions.worker import app; event = json.loads({json.dumps(event)!r});"
        "assert app.handler(event, None)['loaded']"
    )

    assert foreign(imported(statements, variables)) <= BUDGETS["worker"].foreign


def test_a_bucket_costs_a_worker_nothing_before_it_is_read(variables: dict[str, str]) -> None:
    modules = imported("import functions.worker.app", {**variables, "MODELLESS_BLOBS": "s3://bucket/blobs"})

    assert modules & SDK == set()
