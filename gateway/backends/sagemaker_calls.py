"""What is said to an inference component, and what its answers and errors mean; keeps no state, and never retries.

Every call blocks, and so belongs on a thread. Sources: Amazon SageMaker API Reference, InvokeEndpoint,
DescribeInferenceComponent and UpdateInferenceComponentRuntimeConfig; Developer Guide, "Scale an endpoint to zero
instances".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, cast

from gateway.backends.aws import (
    NOT_READY_S,
    Clients,
    code_of,
    faults,
    make_client,
    retry_after_s,
    said,
    translated,
)
from gateway.backends.components import Component
from gateway.backends.container_calls import digest_of, fault_of, parsed, provenance_of, rendered
from gateway.backends.copies import Copies
from gateway.backends.protocol import Invocation
from gateway.errors import BackendError, EnvironmentLost, ExecutionFailed, NotReady, Throttled
from runtime.codecs.text import dumps, loads
from runtime.codecs.v2_client import InferAnswer, Scalar
from runtime.errors import RuntimeFault

MAX_PAYLOAD = 25_000_000
"""Largest body of a request to a real-time endpoint, in bytes (SageMaker quotas)."""

AT_ZERO_S = 60.0
"""When to ask again where nobody is known to have asked for a copy: the next plan, of which one is made a minute."""

CONTROL_TIMEOUT_S = 8
"""For a call that runs nothing on the endpoint."""

JSON = "application/json"
BINARY = "application/vnd.sagemaker-triton.binary+json"
SIZE = ";json-header-size="
"""The length of the JSON before binary tensors is a parameter of the content type: no other header is passed on."""

NO_CAPACITY = re.compile("no capacity", re.IGNORECASE)
"""In what a component without copies says (HTTP 400)."""

UNSAFE = re.compile(r"[^\x21-\x7e]|[,;=]")
"""What a custom attribute's value cannot have in it."""


class Runtime(Protocol):
    """What these calls need of a client of SageMaker's runtime."""

    def invoke_endpoint(self, **request: Any) -> Mapping[str, Any]:
        """InvokeEndpoint."""


class Control(Protocol):
    """What they need of a client of SageMaker itself."""

    def describe_inference_component(self, **request: Any) -> Mapping[str, Any]:
        """DescribeInferenceComponent."""

    def update_inference_component_runtime_config(self, **request: Any) -> Mapping[str, Any]:
        """UpdateInferenceComponentRuntimeConfig."""


class Calls:
    """The calls of one component; safe for threads."""

    def __init__(
        self,
        component: Component,
        *,
        make_runtime: Callable[[int], Runtime] | None = None,
        make_control: Callable[[int], Control] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`make_runtime` and `make_control` make clients whose reads time out after so many seconds."""
        self._component = component
        self._runtimes = Clients(make_runtime or _runtime)
        self._controls = Clients(make_control or _control)
        self._wall = wall

    def infer(self, invocation: Invocation, left_s: float) -> InferAnswer:
        """Have a copy run an invocation within the seconds that are left."""
        name = digest_of(invocation.placement, invocation.variant)
        pieces, length = rendered(invocation, left_s, {"artifact": name, **provenance_of(invocation.variant)})
        # What the container obeys is the timeout in the body; these it sends back, for whoever reads its log.
        told = {"model": name, "decision_id": invocation.id, "deadline": f"{self._wall() + left_s:.3f}"}
        if invocation.trace:
            told["traceparent"] = invocation.trace
        body, kind = self._invoke(b"".join(pieces), f"{BINARY}{SIZE}{length}", told, left_s)
        _, size, length_text = kind.partition(SIZE)
        return parsed(body, length_text if size else None)

    def act(
        self, action: str, name: str, left_s: float, provenance: Mapping[str, Scalar] = MappingProxyType({})
    ) -> tuple[str, ...]:
        """Have a copy `load` or `unload` an artifact; the names of those that it holds then.

        `provenance` is what a load has to be told of its publisher.
        """
        asked = dumps({"parameters": dict(provenance)} if provenance else {})
        body, _ = self._invoke(asked, JSON, {"model": name, "action": action}, left_s)
        try:
            return tuple(str(entry["modelName"]) for entry in loads(body)["models"])
        except (RuntimeFault, KeyError, TypeError) as fault:
            raise ExecutionFailed(f"the container's answer is not one: {type(fault).__name__}: {fault}") from None

    def describe(self) -> Copies:
        """What the component says of its copies."""
        try:
            found = self._controls.exactly(CONTROL_TIMEOUT_S).describe_inference_component(
                InferenceComponentName=self._component.name
            )
        except faults() as error:
            raise translated(error, _control_refusal) from error
        return Copies.read(found)

    def update(self, copies: int) -> None:
        """Ask for another number of copies. Raises Throttled while a change is under way."""
        try:
            self._controls.exactly(CONTROL_TIMEOUT_S).update_inference_component_runtime_config(
                InferenceComponentName=self._component.name, DesiredRuntimeConfig={"CopyCount": copies}
            )
        except faults() as error:
            raise translated(error, _control_refusal) from error

    def _invoke(self, body: bytes, kind: str, told: Mapping[str, str], left_s: float) -> tuple[bytes, str]:
        """One InvokeEndpoint; the answer's body and content type."""
        if len(body) > MAX_PAYLOAD:
            raise ExecutionFailed(f"the request is {len(body)} bytes, and SageMaker takes {MAX_PAYLOAD}")
        try:
            answer = self._runtimes.within(left_s).invoke_endpoint(
                EndpointName=self._component.endpoint,
                InferenceComponentName=self._component.name,
                ContentType=kind,
                Accept=kind.partition(";")[0],
                CustomAttributes=";".join(f"{key}={UNSAFE.sub('_', value)}" for key, value in told.items()),
                Body=body,
            )
            return answer["Body"].read(), str(answer.get("ContentType", ""))
        except faults() as error:
            raise translated(error, _runtime_refusal) from error


def _runtime(timeout_s: int) -> Runtime:
    return cast(Runtime, make_client("sagemaker-runtime", timeout_s))


def _control(timeout_s: int) -> Control:
    return cast(Control, make_client("sagemaker", timeout_s))


def _runtime_refusal(response: Mapping[str, Any]) -> BackendError:
    code, message = code_of(response), said(response)
    match code:
        case "ModelError":  # the container's own answer, which was none of HTTP's 200s
            body = str(response.get("OriginalMessage", "")).encode()
            return fault_of(int(response.get("OriginalStatusCode", 500)), body)
        case "ThrottlingException" | "TooManyRequestsException" | "ServiceUnavailable":
            return Throttled(message, retry_after_s(response))
        case "InternalFailure" | "InternalDependencyException":
            return EnvironmentLost(message)
        case "ValidationError" | "ValidationException" if NO_CAPACITY.search(message):
            return NotReady(message, AT_ZERO_S)
    # Every other code says that it cannot be used now: absent, not allowed, still loading.
    return NotReady(message, NOT_READY_S)


def _control_refusal(response: Mapping[str, Any]) -> BackendError:
    code, message = code_of(response), said(response)
    if code == "ValidationException" and "IN_PROGRESS" in message:
        return Throttled(message, AT_ZERO_S)
    if code in ("ThrottlingException", "ResourceLimitExceeded"):
        return Throttled(message, retry_after_s(response))
    return NotReady(message, AT_ZERO_S)
