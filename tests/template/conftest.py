"""The template as SAM would hand it to CloudFormation, translated offline."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from benchmarks.deployed import all_resources, parsed

ROOT = Path(__file__).resolve().parents[2]

EVERYTHING = {
    "Stage": "prod",
    "Alarms": "all",
    "WarmBudgetUsdPerHour": "0.5",
    "Optimizer": "on",
    "QuotaRequestsPerSecond": "50",
    "AlarmEmail": "ops@example.org",
    "WorkerConcurrency": "20",
    "Gpu": "sagemaker",
    "GpuImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/modelless:cuda",
    "GpuWakeOnDemand": "on",
}


class Deploy(Protocol):
    """What a stack would have, for parameters by name."""

    def __call__(self, **parameters: str) -> dict[str, dict[str, Any]]:
        """Logical id to resource."""


@pytest.fixture(scope="session")
def source() -> dict[str, Any]:
    """template.yaml as written, short intrinsics in their long form."""
    return parsed(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def deploy() -> Deploy:
    """The resources that exist for parameters, those of nested stacks as `Stack.Id`; worked out once for each set."""
    made: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}

    def resources(**parameters: str) -> dict[str, dict[str, Any]]:
        key = tuple(sorted(parameters.items()))
        if key not in made:
            made[key] = all_resources(ROOT / "template.yaml", **parameters)
        return made[key]

    return resources


@pytest.fixture(scope="session")
def everything(deploy: Deploy) -> dict[str, dict[str, Any]]:
    """The resources of a stack in which all that can be on at once is."""
    return deploy(**EVERYTHING)


@pytest.fixture(scope="session")
def recipes() -> ModuleType:
    """infra/build/recipes.py, which is a script's table and no package."""
    spec = importlib.util.spec_from_file_location("recipes", ROOT / "infra" / "build" / "recipes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
