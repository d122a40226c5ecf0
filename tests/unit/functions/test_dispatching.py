"""What serves requests in a function is opened without a call, as its settings say, and tells of each request."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from functions.aws.dispatching import Dispatching, open_service
from functions.aws.emf import Emf
from functions.aws.settings import ApiSettings, JobsSettings
from gateway.apart import ApartSnapshots
from gateway.auth import ANONYMOUS
from gateway.errors import Unavailable
from registry.catalogue import Catalogue
from registry.stores.dynamodb_table import DynamoTable

SMALL = "lambda-1769-snapstart"
WORKERS = {SMALL: "arn:small"}


class Unreached:
    """Stands for a client of the table."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is called")


def opened(settings: ApiSettings | JobsSettings, lines: list[str]) -> Dispatching:
    client: Any = Unreached()
    return open_service(settings, DynamoTable("facts", client), Emf("stack-api", write=lines.append))


@pytest.mark.parametrize(
    "settings", [ApiSettings("facts", WORKERS, "sub", 0.0), JobsSettings("facts", "bucket", "https://queue", WORKERS)]
)
async def test_it_serves_what_it_is_given_a_catalogue_of_and_tells_of_it(
    settings: ApiSettings | JobsSettings, catalogue: Catalogue
) -> None:
    lines: list[str] = []
    service, backends, _, decided = opened(settings, lines)
    backends.follow(catalogue)
    service.snapshots.replace(Catalogue.empty().with_tasks(catalogue.tasks["sum"]))
    decided.request_id = "lambda-1"

    with pytest.raises(Unavailable):
        await service.predict(ANONYMOUS, "sum", {"x": np.ones((1, 2), np.float32)})

    assert set(backends.by_tier) == {SMALL}
    (line,) = map(json.loads, lines)
    assert (line["service"], line["request_id"], line["task"]) == ("stack-api", "lambda-1", "sum")


@pytest.mark.parametrize("isolated", [False, True])
def test_where_tenants_are_isolated_each_sees_its_own_environments_alone(isolated: bool) -> None:
    service, *_ = opened(ApiSettings("facts", WORKERS, "sub", 0.0, isolated=isolated), [])

    assert isinstance(service.snapshots, ApartSnapshots) is isolated
