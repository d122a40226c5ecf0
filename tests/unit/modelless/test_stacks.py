"""A stack is what its outputs say, and whatever they leave out is said by name."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from gateway.backends.components import Component
from modelless.stacks import Stack, find_stack, workers_of
from registry.errors import InvalidValue, NotFound, Unavailable

WORKERS = {"lambda-1769": "arn:aws:lambda:eu-west-1:123456789012:function:w1:live", "lambda-3538-snapstart": "w2:live"}
OUTPUTS = {"TableName": "facts", "BucketName": "blobs", "Workers": json.dumps(WORKERS), "ApiUrl": "https://x"}


@pytest.fixture
def client() -> Any:
    return boto3.client("cloudformation", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


def found(client: Any, outputs: dict[str, str]) -> Stack:
    stack = {
        "StackName": "shop",
        "CreationTime": "2026-01-01T00:00:00Z",
        "StackStatus": "CREATE_COMPLETE",
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
    }
    with Stubber(client) as stub:
        stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "shop"})
        return find_stack("shop", client)


def test_outputs_are_read(client: Any) -> None:
    assert found(client, OUTPUTS) == Stack("shop", "facts", "blobs", WORKERS)


@pytest.mark.parametrize("missing", ["TableName", "BucketName", "Workers"])
def test_a_missing_output_is_named(missing: str, client: Any) -> None:
    with pytest.raises(InvalidValue, match=rf"stack shop: has no output {missing}; .*--table"):
        found(client, {key: value for key, value in OUTPUTS.items() if key != missing})


def test_no_such_stack(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("describe_stacks", "ValidationError", "Stack with id shop does not exist")
        with pytest.raises(NotFound, match="no stack 'shop'"):
            find_stack("shop", client)


def test_a_refusal_is_unavailable(client: Any) -> None:
    message = "User: u is not authorized to perform: cloudformation:DescribeStacks"
    with Stubber(client) as stub:
        stub.add_client_error("describe_stacks", "AccessDenied", message)
        with pytest.raises(Unavailable, match="cloudformation:DescribeStacks"):
            find_stack("shop", client)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lambda-1769": 3}', "lambda-1769=arn"])
def test_workers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"--workers: .* is no JSON object of tiers to function ARNs"):
        workers_of(text, "--workers")


def test_tiers_are_those_of_its_workers() -> None:
    stack = Stack("shop", "facts", "blobs", WORKERS)
    assert [tier.name for tier in stack.tiers] == list(WORKERS)
    assert [tier.name for tier in stack.only(["lambda-1769"]).tiers] == ["lambda-1769"]
    assert stack.only(()) == stack
    gpu = Stack("shop", "facts", "blobs", WORKERS, gpus={"gpu-sagemaker-g6": Component("e", "c")})
    assert [tier.name for tier in gpu.tiers] == [*WORKERS, "gpu-sagemaker-g6"]
    assert gpu.only(()) == stack
    assert [tier.name for tier in gpu.only(["gpu-sagemaker-g6"]).tiers] == ["gpu-sagemaker-g6"]
    other = Stack("shop", "facts", "blobs", {}, gpus={"gpu-sagemaker-g5": Component("e", "c")})
    assert [tier.price.usd_per_idle_s * 3600 for tier in other.tiers] == [pytest.approx(1.408)]
    with pytest.raises(InvalidValue, match="shop has no 'lambda-1'; it has lambda-1769"):
        stack.only(["lambda-1"])
    with pytest.raises(InvalidValue, match="'lambda-1' is no tier"):
        _ = Stack("shop", "facts", "blobs", {"lambda-1": "w"}).tiers
