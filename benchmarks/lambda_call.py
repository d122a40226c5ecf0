"""What Lambda hands a function that is asked over HTTP: the event and its context; it calls nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

READER = "arn:aws:sts::123456789012:assumed-role/reader/session"


@dataclass(frozen=True)
class Context:
    """What a handler is given besides the event."""

    function_name: str = "api"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:api"
    aws_request_id: str = "request-1"
    left_ms: int = 29_000

    def get_remaining_time_in_millis(self) -> int:
        """As Lambda has it."""
        return self.left_ms


def http_event(method: str, path: str, body: Any = None, arn: str | None = READER, **headers: str) -> dict[str, Any]:
    """A payload 2.0 event from whom IAM knows by `arn`, or nobody; `body` is JSON-able, or text to be sent as it is."""
    authorizer = {} if arn is None else {"authorizer": {"iam": {"userArn": arn}}}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **headers},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default", **authorizer},
        "body": body if body is None or isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
    }
