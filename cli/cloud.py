"""What a command says of AWS: which stack is meant, and why AWS refuses, with what to do; it asks and never changes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.errors import BadInput, Failed, needs_aws
from registry.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from modelless.stacks import Stack

ACTIONS: Mapping[str, str] = {
    "HeadObject": "s3:GetObject and s3:ListBucket",
    "PutObject": "s3:PutObject",
    "GetObject": "s3:GetObject",
    "Invoke": "lambda:InvokeFunction",
    "DescribeStacks": "cloudformation:DescribeStacks",
    "Sign": "kms:Sign",
}
"""The IAM actions that a call needs; DynamoDB's calls are named as theirs are."""

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"})
"""Error codes that say so; an answer to HEAD has no more than its status."""

STALE = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"})


def stack_of(
    stack: str | None, table: str | None = None, bucket: str | None = None, workers: str | None = None
) -> Stack:
    """The stack that the options name: by its name, by its parts, or by its name with some parts said otherwise.

    Raises BadInput where a part is missing, and what finding a stack raises.
    """
    from modelless.stacks import Stack, find_stack, workers_of

    parts = {"--table": table, "--bucket": bucket, "--workers": workers}
    if stack is not None and any(parts.values()):
        raise BadInput(f"--stack says it all; leave out {', '.join(name for name, said in parts.items() if said)}")
    if stack is not None:
        return find_stack(stack)
    if missing := [name for name, said in parts.items() if said is None]:
        are = "is" if len(missing) == 1 else "are"
        raise BadInput(f"{', '.join(missing)} {are} missing; give --stack NAME, or --table, --bucket and --workers")
    assert table is not None
    assert bucket is not None
    assert workers is not None
    return Stack(f"table {table}", table, bucket, workers_of(workers, "--workers"))


def table_of(stack: str | None, table: str | None) -> str:
    """The name of the table that the options mean."""
    from modelless.stacks import find_stack

    if table is None:
        assert stack is not None
        return find_stack(stack).table
    if stack is not None:
        raise BadInput("--stack names the table already; leave out --table")
    return table


@contextmanager
def told_of_cloud() -> Iterator[None]:
    """Turn what AWS refuses into a message that says what to do; raises BadInput where an endpoint is no address."""
    _check_endpoints()
    try:
        with needs_aws():
            yield
    except NotFound as error:
        if error.kind != "stack":
            raise
        raise BadInput(f"{error} in {_region()}; `sam deploy` makes one, or name another, or AWS_REGION") from error
    except Unavailable as error:
        raise Failed(_explained(error)) from error


def _check_endpoints() -> None:
    for name, value in sorted(os.environ.items()):
        if name.startswith("AWS_ENDPOINT_URL") and value and not value.startswith(("http://", "https://")):
            raise BadInput(f"{name}: {value!r} is no address; give one like http://127.0.0.1:4566, or unset it")


def _region() -> str:
    import botocore.session

    return botocore.session.get_session().get_config_variable("region") or "no region"


def _explained(error: Unavailable) -> str:
    from botocore import exceptions as aws

    match error.__cause__:
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
            return f"no AWS credentials ({error.problem}); log in with `aws configure` or `aws sso login`"
        case aws.EndpointConnectionError() | aws.ConnectTimeoutError():
            place = f"{error.where} is not reached in {_region()} ({error.problem})"
            return f"{place}; see that AWS_REGION is the stack's, and that this machine reaches AWS"
        case aws.NoRegionError():
            return "no AWS region is set; set AWS_REGION"
        case aws.ClientError(response=response, operation_name=operation):
            return _refused(error, response.get("Error", {}).get("Code", ""), operation)
    return str(error)


def _refused(error: Unavailable, code: str, operation: str) -> str:
    if code in DENIED:
        denied = f"{error.where}: access denied to {_action(operation)} ({error.problem})"
        return f"{denied}; attach the stack's PublisherPolicyArn to whoever pushes"
    if code in STALE:
        return f"AWS does not accept these credentials any more ({code}); log in again"
    if code == "ResourceNotFoundException":
        return f"{error.where} does not exist in {_region()} ({error.problem})"
    return str(error)


def _action(operation: str) -> str:
    return ACTIONS.get(operation, f"dynamodb:{operation}")
