"""SageMaker as one inference component shows it, on a clock that is given: copies that take minutes to come and to go.

It stands in for the clients of `sagemaker` and `sagemaker-runtime`, and answers and refuses in their words; what a copy
computes is an argument. It never sleeps.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.copies import SCALE_IN_S, START_S, TAIL_S

ACCOUNT = "arn:aws:sagemaker:us-east-1:123456789012"

Answer = Callable[[bytes, str, str], tuple[int, bytes, str]]
"""What a copy does: a body, its content type and the custom attributes to a status, a body and a content type."""


@dataclass(slots=True)
class _Change:
    """Another number of copies that is on its way."""

    copies: int
    at: float
    """When (s) it has taken effect."""


class FakeComponents:
    """One component, `name` on `endpoint`; both clients in one.

    Copies come `start_s` after they are asked for and go `scale_in_s` after they are wanted no more; their instances
    are paid for from when they are asked for until `tail_s` after the last is gone.
    """

    def __init__(
        self,
        endpoint: str,
        name: str,
        *,
        clock: Callable[[], float],
        answer: Answer,
        copies: int = 0,
        start_s: float = START_S,
        scale_in_s: float = SCALE_IN_S,
        tail_s: float = TAIL_S,
    ) -> None:
        self.calls: list[str] = []
        """The operations that were called."""
        self._endpoint, self._name = endpoint, name
        self._clock, self._answer = clock, answer
        self._start_s, self._scale_in_s, self._tail_s = start_s, scale_in_s, tail_s
        self._current = self._desired = copies
        self._change: _Change | None = None
        self._deleting_since: float | None = None
        self._paid_until = clock()
        self._paid_s = 0.0
        self._empty: list[float] = []
        """Since when (s) instances have had no copy; each is paid for, and takes the next copy, for `tail_s`."""

    # As the clients have it

    def describe_inference_component(self, **request: Any) -> dict[str, Any]:
        """DescribeInferenceComponent."""
        self.calls.append("DescribeInferenceComponent")
        self._find(request, "DescribeInferenceComponent")
        return {
            "InferenceComponentName": self._name,
            "InferenceComponentArn": f"{ACCOUNT}:inference-component/{self._name}",
            "EndpointName": self._endpoint,
            "EndpointArn": f"{ACCOUNT}:endpoint/{self._endpoint}",
            "CreationTime": 0,
            "LastModifiedTime": 0,
            "InferenceComponentStatus": self._status(),
            "RuntimeConfig": {"DesiredCopyCount": self._desired, "CurrentCopyCount": self._current},
        }

    def update_inference_component_runtime_config(self, **request: Any) -> dict[str, Any]:
        """UpdateInferenceComponentRuntimeConfig; refused while a change is under way."""
        operation = "UpdateInferenceComponentRuntimeConfig"
        self.calls.append(operation)
        self._find(request, operation)
        if self._status() != "InService":
            doing = "DELETE" if self._deleting_since is not None else "UPDATE_RC"
            raise _refused(operation, "ValidationException", f"{self._name} is in status {doing}_IN_PROGRESS.")
        self._desired = request["DesiredRuntimeConfig"]["CopyCount"]
        takes_s = self._start_s if self._desired > self._current else self._scale_in_s
        self._reuse(self._desired - self._current)
        self._change = _Change(self._desired, self._clock() + takes_s)
        return {"InferenceComponentArn": f"{ACCOUNT}:inference-component/{self._name}"}

    def invoke_endpoint(self, **request: Any) -> Mapping[str, Any]:
        """InvokeEndpoint; fails at once where no copy answers."""
        self.calls.append("InvokeEndpoint")
        self._settle()
        known = (request["EndpointName"], request["InferenceComponentName"]) == (self._endpoint, self._name)
        if not known or self._gone:
            raise _refused("InvokeEndpoint", "ValidationError", f"Endpoint {request['EndpointName']} not found.")
        if not self._current:
            raise _refused(
                "InvokeEndpoint", "ValidationError", "Inference Component has no capacity to process this request."
            )
        attributes = request.get("CustomAttributes", "")
        status, body, kind = self._answer(bytes(request["Body"]), request["ContentType"], attributes)
        if status != 200:
            raise _model_error(status, body)
        return {"Body": io.BytesIO(body), "ContentType": kind, "CustomAttributes": attributes}

    # As the world has it

    def delete(self) -> None:
        """Somebody deletes the component; it is gone when its copies are."""
        self._settle()
        self._deleting_since = self._clock()
        self._desired, self._change = 0, _Change(0, self._clock() + self._scale_in_s)

    def paid_s(self) -> float:
        """Instance seconds that are billed by now."""
        self._settle()
        return self._paid_s + sum(min(self._tail_s, self._clock() - since) for since in self._empty)

    @property
    def _gone(self) -> bool:
        return self._deleting_since is not None and self._change is None

    def _status(self) -> str:
        if self._deleting_since is not None:
            return "Deleting"
        return "InService" if self._change is None else "Updating"

    def _find(self, request: Mapping[str, Any], operation: str) -> None:
        self._settle()
        if request["InferenceComponentName"] != self._name or self._gone:
            message = f"Could not find inference component {request['InferenceComponentName']}."
            raise _refused(operation, "ValidationException", message)

    def _settle(self) -> None:
        """Bring counts and the bill up to now."""
        now = self._clock()
        if self._change is not None and now >= self._change.at:
            ended = self._change
            self._pay(ended.at)
            left, self._current, self._change = self._current - ended.copies, ended.copies, None
            self._empty += [ended.at] * left
        self._pay(now)

    def _reuse(self, copies: int) -> None:
        """Copies that are to come take the instances that are still there."""
        now = self._clock()
        for _ in range(min(max(0, copies), len(self._empty))):
            self._paid_s += min(self._tail_s, now - self._empty.pop())

    def _pay(self, until: float) -> None:
        instances = max(self._current, self._change.copies if self._change is not None else 0)
        self._paid_s += instances * (until - self._paid_until)
        self._paid_until = until


def _refused(operation: str, code: str, message: str) -> Exception:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - who has a client of SageMaker's has botocore

    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(response, operation)


def _model_error(status: int, body: bytes) -> Exception:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see above

    response: Any = {
        "Error": {"Code": "ModelError", "Message": f"Received error ({status}) from model"},
        "OriginalStatusCode": status,
        "OriginalMessage": body.decode("utf-8", "replace"),
    }
    return ClientError(response, "InvokeEndpoint")
