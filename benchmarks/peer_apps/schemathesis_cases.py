"""Requests that schemathesis draws from an OpenAPI document, one JSON line each; it sends nothing.

    python schemathesis_cases.py DOCUMENT MOST > LINES

A line is {"operation", "method", "target", "headers", "body"}, the body in base64. At most MOST of each operation obey
the document, and as many break it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests import Request
from requests.exceptions import RequestException
from schemathesis.generation import GenerationMode


def draw(operation, mode, most):
    """Print requests of one operation."""

    @seed(0)
    @settings(
        max_examples=most,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def show(case):
        try:
            prepared = Request(**case.as_transport_kwargs(base_url="http://fuzz")).prepare()
        except (RequestException, ValueError):
            return  # What requests cannot say in HTTP
        body = prepared.body or b""
        line = {
            "operation": operation.definition.raw["operationId"],
            "method": prepared.method,
            "target": prepared.path_url,
            "headers": dict(prepared.headers),
            "body": base64.b64encode(body if isinstance(body, bytes) else body.encode()).decode(),
        }
        sys.stdout.write(json.dumps(line) + "\n")

    # Of an operation without parameters nothing can be broken.
    with contextlib.suppress(Unsatisfiable):
        show()


def main(document, most):
    with open(document) as file:
        schema = schemathesis.openapi.from_dict(json.load(file))
    for found in schema.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            draw(found.ok(), mode, most)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
