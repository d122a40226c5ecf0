"""The template as SAM would hand it to CloudFormation, translated offline."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


class ManagedPolicies:
    """SAM asks for managed policies by name; any ARN will do offline."""

    def load(self) -> dict[str, str]:
        return {
            name: f"arn:aws:iam::aws:policy/service-role/{name}"
            for name in ("AWSLambdaBasicExecutionRole", "AWSXRayDaemonWriteAccess", "AWSXrayWriteOnlyAccess")
        }


@pytest.fixture(scope="session")
def source() -> dict[str, Any]:
    """template.yaml as written, short intrinsics in their long form."""
    from samtranslator.yaml_helper import yaml_parse

    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed


@pytest.fixture(scope="session")
def translated(source: dict[str, Any]) -> dict[str, Any]:
    """Plain CloudFormation."""
    from samtranslator.translator.transform import transform

    template = copy.deepcopy(source)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"  # what `sam package` writes in place of a folder
    template["Globals"]["Function"].pop("CodeUri")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        result: dict[str, Any] = transform(template, {}, ManagedPolicies())
    return result


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


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A DynamoDB client on moto."""
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        import boto3

        yield boto3.client("dynamodb", region_name="us-east-1")
