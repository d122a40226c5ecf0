"""A LocalStack that runs already (`make localstack` starts one): its clients, and functions made in it."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from localstack_client.session import Session

ROLE = "arn:aws:iam::000000000000:role/any"

Client = Callable[[str], Any]
MakeFunction = Callable[..., str]


@pytest.fixture(scope="session")
def endpoint() -> str:
    """Its address."""
    address = os.environ.get("AWS_ENDPOINT_URL")
    assert address, "AWS_ENDPOINT_URL names no LocalStack; run `make localstack`"
    return address


@pytest.fixture(scope="session")
def client(endpoint: str) -> Client:
    """Makes clients, as LocalStack's own users do; they never retry, so that tests see what happened."""
    from botocore.config import Config

    session = Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return lambda service: session.client(service, config=Config(retries={"total_max_attempts": 1}, read_timeout=120))


@pytest.fixture
def function(client: Client, request: pytest.FixtureRequest) -> Iterator[MakeFunction]:
    """Makes a function of one source file `fn.py` with a `handler`, ready to be invoked; gone afterwards."""
    made: list[str] = []
    lambda_ = client("lambda")

    def make(source: str, **settings: Any) -> str:
        name = f"{request.node.originalname[:40]}-{len(made)}".replace("_", "-")
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as files:
            files.writestr("fn.py", source)
        options = {"MemorySize": 512, "Timeout": 20, **settings}
        lambda_.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="fn.handler",
            Role=ROLE,
            Code={"ZipFile": archive.getvalue()},
            **options,
        )
        made.append(name)
        lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        return name

    yield make
    for name in made:
        lambda_.delete_function(FunctionName=name)
