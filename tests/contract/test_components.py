"""What a backend owes the service while an inference component's copies come and go, over the fake and over botocore.

The second is botocore's own client, each of whose answers is the fake's: what is asked and answered is held to AWS's
model of the service.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from gateway.backends.components import Component
from gateway.backends.protocol import Invocation
from gateway.backends.sagemaker import PER_COPY, SageMakerBackend
from gateway.backends.sagemaker_calls import AT_ZERO_S, BINARY, SIZE, Calls
from gateway.backends.sagemaker_fake import FakeComponents
from gateway.errors import BackendError, EnvironmentLost, ExecutionFailed, NotReady, Throttled
from registry.catalogue import Catalogue
from registry.copies import SCALE_IN_S, START_S, TAIL_S
from registry.model import Accuracy, Placement, Recipe, Task, TensorSpec, Variant
from registry.prices import sagemaker_tier
from registry.stores.leases import MemoryLeases
from runtime.codecs.text import dumps
from runtime.codecs.v2 import parse_request
from scheduler.events import Event, TierUnavailable
from scheduler.fleet import Fleet

TIER = sagemaker_tier()
VARIANT = Variant("sum", "a", "blake3:" + "0" * 64, Recipe("test"), Accuracy(0.9, 0.9, 0.9, 9, "wilson"))
PLACEMENT = Placement(VARIANT.id, TIER.name)
X = np.ones((1, 3), np.float32)
ORIGINAL = ("OriginalStatusCode", "OriginalMessage")
"""What a ModelError tells of the container's own answer."""


def doubled(body: bytes, kind: str, attributes: str) -> tuple[int, bytes, str]:
    """A copy whose one model doubles x, and holds whatever it is told to."""
    if "action=" in attributes:
        loaded = [] if "action=unload" in attributes else [{"modelName": VARIANT.artifact}]
        return 200, dumps({"models": loaded}), "application/json"
    request = parse_request(body, int(kind.partition(SIZE)[2]))
    array = np.ascontiguousarray(request.inputs["x"] * 2)
    size = {"binary_data_size": array.nbytes}
    output = {"name": "y", "datatype": "FP32", "shape": array.shape, "parameters": size}
    header = dumps({"parameters": {"run_ms": 2.0}, "outputs": [output]})
    return 200, header + array.tobytes(), f"{BINARY}{SIZE}{len(header)}"


class Stubbed:
    """botocore's client of a service, stubbed with what the fake answers to the same request."""

    def __init__(self, service: str, fake: FakeComponents) -> None:
        key = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        self._client = boto3.client(service, region_name="us-east-1", **key)
        self._stub = Stubber(self._client)
        self._stub.activate()
        self._fake = fake

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            try:
                answer = getattr(self._fake, operation)(**request)
            except ClientError as error:
                said = error.response["Error"]
                own = {name: error.response[name] for name in ORIGINAL if name in error.response}
                self._stub.add_client_error(operation, said["Code"], said["Message"], 400, modeled_fields=own)
            else:
                if "Body" in answer:
                    body = answer["Body"].read()
                    answer |= {"Body": StreamingBody(io.BytesIO(body), len(body))}
                self._stub.add_response(operation, answer, request)
            return getattr(self._client, operation)(**request)

        return call


@dataclass
class Rig:
    """A backend, the component that it asks, and the clock of both."""

    kind: str
    most: int = 1
    now: float = 1000.0
    answer: Any = doubled
    events: list[Event] = field(default_factory=list)
    leases: MemoryLeases = field(init=False)
    component: FakeComponents = field(init=False)
    backend: SageMakerBackend = field(init=False)

    def __post_init__(self) -> None:
        self.component = FakeComponents("gpu", "component", clock=self.clock, answer=self.answered)
        self.leases = MemoryLeases(wall=self.clock)
        self.backend = self.another(self.events.append)

    def clock(self) -> float:
        return self.now

    def answered(self, body: bytes, kind: str, attributes: str) -> Any:
        return self.answer(body, kind, attributes)

    def another(self, emit: Callable[[Event], None] = lambda _: None) -> SageMakerBackend:
        """One more process that asks the same component."""

        def client(service: str) -> Any:
            return self.component if self.kind == "fake" else Stubbed(service, self.component)

        component = Component("gpu", "component", self.most)
        calls = Calls(
            component,
            make_runtime=lambda timeout_s: client("sagemaker-runtime"),
            make_control=lambda timeout_s: client("sagemaker"),
            wall=self.clock,
        )
        return SageMakerBackend(TIER, emit=emit, component=component, calls=calls, leases=self.leases, clock=self.clock)

    async def invoke(self, backend: SageMakerBackend | None = None, id_: str = "decision-1") -> Any:
        invocation = Invocation(id_, PLACEMENT, VARIANT, {"x": X}, self.now + 5.0)
        return await (backend or self.backend).invoke(invocation)

    async def started(self) -> None:
        await self.backend.provision(1)
        self.now += START_S
        await self.backend.prepare()

    def fleet(self) -> Fleet:
        """What the scheduler makes of it."""
        spec = (TensorSpec("x", "FP32", (-1, 3)),)
        made = Catalogue.empty().with_tasks(Task("sum", spec, spec, "accuracy")).with_tiers(TIER)
        fleet = Fleet.empty(made.with_variants(VARIANT).with_placements(PLACEMENT))
        for event in self.events:
            fleet = fleet.apply(event)  # raises FleetError for what cannot happen
        return fleet


@pytest.fixture(params=["fake", "botocore"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = Rig(request.param)
    yield made
    await made.backend.close()
    made.fleet()


async def test_at_zero_it_is_not_ready_and_says_so_before_anybody_asks(rig: Rig) -> None:
    with pytest.raises(NotReady, match="0 of 0 copies are there"):
        await rig.backend.prepare()
    status = rig.backend.status()
    assert (status.ready, status.idle, status.starting) == (False, 0, 0)
    assert rig.fleet().tier(TIER.name).unavailable_until == rig.now + AT_ZERO_S
    rig.component.calls.clear()
    with pytest.raises(NotReady) as refused:
        await rig.invoke()
    assert refused.value.retry_after_s == AT_ZERO_S
    assert rig.component.calls == []  # what is known needs no call


async def test_a_call_that_finds_no_capacity_fails_at_once_and_is_remembered(rig: Rig) -> None:
    with pytest.raises(NotReady, match="has no capacity") as refused:
        await rig.invoke()
    assert refused.value.retry_after_s == AT_ZERO_S
    assert rig.component.calls == ["InvokeEndpoint"]
    assert not rig.backend.status().ready
    with pytest.raises(NotReady):
        await rig.invoke()
    assert rig.component.calls == ["InvokeEndpoint"]
    rig.now += AT_ZERO_S
    with pytest.raises(NotReady):
        await rig.invoke()
    assert rig.component.calls == ["InvokeEndpoint"] * 2


async def test_copies_that_come_are_a_state_with_a_time(rig: Rig) -> None:
    assert await rig.backend.provision(1) is True
    assert (rig.backend.status().ready, rig.backend.status().starting) == (False, 1)
    rig.now += 100.0
    with pytest.raises(NotReady, match="0 of 1 copies are there, and it is Updating") as refused:
        await rig.backend.prepare()
    assert refused.value.retry_after_s == START_S - 100.0
    assert rig.fleet().tier(TIER.name).unavailable_until == rig.now + START_S - 100.0
    rig.now += START_S - 100.0
    await rig.backend.prepare()
    assert (rig.backend.status().ready, rig.backend.status().idle) == (True, 1)
    np.testing.assert_array_equal((await rig.invoke()).outputs["y"], X * 2)
    assert rig.fleet().tier(TIER.name).unavailable_until <= rig.now


async def test_an_answer_ends_what_was_said_of_the_tier_before(rig: Rig) -> None:
    await rig.backend.provision(1)
    other = rig.another()
    rig.now += START_S / 2
    await rig.backend.provision(1)  # looks, and says for how long it is not ready
    rig.now += START_S / 2 + 1
    reply = await rig.invoke(other)
    rig.backend.sighted(TIER.name, (VARIANT.id,), rig.now)
    assert (reply.cold, reply.run_ms) == (False, 2.0)
    assert rig.backend.status().ready
    assert dict(rig.backend.status().resident) == {VARIANT.id: 1}
    await other.close()


async def test_the_number_is_set_once_and_not_while_it_changes(rig: Rig) -> None:
    rig.backend._component = Component("gpu", "component", 2)
    assert await rig.backend.provision(0) is False
    assert await rig.backend.provision(1, more=False) is False
    assert await rig.backend.provision(1) is True
    assert await rig.backend.provision(1) is False
    with pytest.raises(Throttled, match="cannot be set meanwhile"):
        await rig.backend.provision(2)
    rig.now += START_S
    assert await rig.backend.provision(0, fewer=False) is False
    assert await rig.backend.provision(0) is True
    with pytest.raises(Throttled, match="has at most 2 copies"):
        await rig.backend.provision(3)
    assert rig.component.calls.count("UpdateInferenceComponentRuntimeConfig") == 2


async def test_who_looked_before_another_set_it_is_refused_and_asks_later(rig: Rig) -> None:
    """Two plans meet: both saw none, and both want one."""
    describe, racing = rig.component.describe_inference_component, rig.another()

    def stale(**request: Any) -> Any:
        seen = describe(**request)
        if seen["InferenceComponentStatus"] == "InService" and not seen["RuntimeConfig"]["DesiredCopyCount"]:
            rig.component.update_inference_component_runtime_config(
                InferenceComponentName="component", DesiredRuntimeConfig={"CopyCount": 1}
            )
        return seen

    rig.component.describe_inference_component = stale  # type: ignore[method-assign]
    with pytest.raises(Throttled, match="UPDATE_RC_IN_PROGRESS"):
        await racing.provision(1)
    assert await racing.provision(1) is False
    await racing.close()


async def test_what_is_given_up_takes_no_more_and_is_paid_for_to_its_end(rig: Rig) -> None:
    await rig.started()
    await rig.invoke()
    assert await rig.backend.provision(0) is True
    assert not rig.backend.status().ready
    assert rig.fleet().tier(TIER.name).live == 0
    with pytest.raises(NotReady):
        await rig.invoke()
    rig.now += 10 * TAIL_S
    assert rig.component.paid_s() == START_S + SCALE_IN_S + TAIL_S
    with pytest.raises(NotReady, match="0 of 0"):
        await rig.backend.prepare()


async def test_a_component_that_is_deleted_is_neither_used_nor_scaled(rig: Rig) -> None:
    await rig.started()
    rig.component.delete()
    with pytest.raises(NotReady, match="it is Deleting"):
        await rig.backend.provision(1)
    assert not rig.backend.status().ready
    rig.now += SCALE_IN_S
    with pytest.raises(NotReady, match="Could not find"):
        await rig.backend.provision(1)
    rig.now += AT_ZERO_S
    with pytest.raises(NotReady, match="not found"):
        await rig.invoke()


async def test_a_variant_is_had_ready_and_given_up(rig: Rig) -> None:
    with pytest.raises(NotReady):
        await rig.backend.prepare()
    with pytest.raises(NotReady):
        await rig.backend.ensure(PLACEMENT, VARIANT, 1)
    rig.now += AT_ZERO_S
    await rig.started()
    await rig.backend.ensure(PLACEMENT, VARIANT, 1)
    assert rig.fleet().idle_with(PLACEMENT.id) == 1
    calls = list(rig.component.calls)
    await rig.backend.ensure(PLACEMENT, VARIANT, 1)
    assert rig.component.calls == calls
    await rig.backend.unload(VARIANT)
    assert dict(rig.backend.status().resident) == {}


async def test_what_others_saw_long_ago_or_before_it_went_says_nothing_of_now(rig: Rig) -> None:
    rig.backend.sighted(TIER.name, (VARIANT.id,), rig.now - TIER.idle_timeout_s - 1)
    assert rig.backend.status().idle == 0
    with pytest.raises(NotReady):
        await rig.backend.prepare()
    rig.backend.sighted(TIER.name, (VARIANT.id,), rig.now - 1)
    assert rig.backend.status().idle == 0
    rig.backend.sighted(TIER.name, (VARIANT.id,), rig.now + 1)
    assert rig.backend.status().idle == 1


async def test_that_it_is_there_does_not_say_that_it_is_used(rig: Rig) -> None:
    """A look a minute must not keep a copy that nobody asks anything; what others saw of its use must."""
    await rig.started()
    began = rig.now
    rig.now += 600.0
    await rig.backend.provision(1)
    assert rig.fleet().tier(TIER.name).environments[TIER.name].used_at == began
    rig.backend.sighted(TIER.name, (VARIANT.id,), rig.now - 30.0)
    assert rig.fleet().tier(TIER.name).environments[TIER.name].used_at == rig.now - 30.0


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (400, b'{"error": "wrong inner extent"}', ExecutionFailed),
        (429, b'{"error": "full", "retry_after_s": 2}', Throttled),
        (503, b'{"error": "stopping"}', NotReady),
        (500, b"Internal Server Error", ExecutionFailed),
    ],
)
async def test_what_the_container_refuses_is_its_own_refusal(
    rig: Rig, status: int, body: bytes, fault: type[BackendError]
) -> None:
    await rig.started()
    rig.answer = lambda *_: (status, body, "application/json")
    with pytest.raises(fault, match=f"HTTP {status}"):
        await rig.invoke()


async def test_all_who_share_the_copies_have_no_more_under_way_than_they_take(rig: Rig) -> None:
    await rig.started()
    held = [rig.leases.acquire(TIER.name, f"r{i}", most=PER_COPY, for_s=9.0) for i in range(PER_COPY)]
    other = rig.another()
    calls = list(rig.component.calls)
    for backend in (rig.backend, other):
        with pytest.raises(Throttled, match=f"{PER_COPY} requests under way from all who share it"):
            await rig.invoke(backend)
    assert rig.component.calls == calls
    assert held[0] is not None
    rig.leases.release(held[0])
    await rig.invoke(other)
    assert rig.leases.held(TIER.name) == PER_COPY - 1  # what was used is given back
    await other.close()


async def test_a_lease_is_given_back_whatever_came_of_the_call(rig: Rig) -> None:
    await rig.started()
    rig.answer = lambda *_: (400, b"{}", "application/json")
    with pytest.raises(ExecutionFailed):
        await rig.invoke()
    assert rig.leases.held(TIER.name) == 0


# Exactly what is sent


class Pinned:
    """botocore's clients, which answer one expected request after another."""

    def __init__(self, service: str) -> None:
        key = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        self.client = boto3.client(service, region_name="us-east-1", **key)
        self.stub = Stubber(self.client)
        self.stub.activate()

    def backend(self, emit: Callable[[Event], None] = lambda _: None) -> SageMakerBackend:
        component = Component("gpu", "component")

        def make(_: int) -> Any:
            return self.client

        calls = Calls(component, make_runtime=make, make_control=make, wall=lambda: 1_700_000_000.0)
        return SageMakerBackend(TIER, emit=emit, component=component, calls=calls, clock=lambda: 50.0)


def described(current: int, desired: int, status: str = "InService") -> dict[str, Any]:
    fake = FakeComponents("gpu", "component", clock=lambda: 0.0, answer=doubled)
    document = fake.describe_inference_component(InferenceComponentName="component")
    counts = {"CurrentCopyCount": current, "DesiredCopyCount": desired}
    return document | {"InferenceComponentStatus": status, "RuntimeConfig": counts}


async def test_the_control_calls_are_these() -> None:
    pinned = Pinned("sagemaker")
    named = {"InferenceComponentName": "component"}
    pinned.stub.add_response("describe_inference_component", described(0, 0), named)
    pinned.stub.add_response(
        "update_inference_component_runtime_config",
        {"InferenceComponentArn": "arn:aws:sagemaker:us-east-1:123456789012:inference-component/component"},
        named | {"DesiredRuntimeConfig": {"CopyCount": 1}},
    )
    backend = pinned.backend()
    assert await backend.provision(1) is True
    pinned.stub.assert_no_pending_responses()
    await backend.close()


async def test_an_invocation_is_this() -> None:
    pinned, sent = Pinned("sagemaker-runtime"), []
    pinned.client.meta.events.register(
        "before-parameter-build.sagemaker-runtime.InvokeEndpoint", lambda params, **_: sent.append(params)
    )

    def expect(body: bytes, kind: str, answer: dict[str, Any]) -> None:
        response = answer | {"Body": StreamingBody(io.BytesIO(body), len(body)), "ContentType": kind}
        request = dict.fromkeys(("ContentType", "CustomAttributes", "Body"), ANY) | {
            "EndpointName": "gpu",
            "InferenceComponentName": "component",
            "Accept": ANY,
        }
        pinned.stub.add_response("invoke_endpoint", response, request)

    header = dumps({"outputs": [], "parameters": {}})
    expect(header, f"{BINARY}{SIZE}{len(header)}", {})
    expect(dumps({"models": []}), "application/json", {})
    expect(dumps({"models": []}), "application/json", {})
    said = {"binding": "b@1", "signature": "c2ln"}
    variant = replace(VARIANT, **said)
    backend = pinned.backend()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await backend.invoke(Invocation("decision-1", PLACEMENT, variant, {"x": X}, 53.0, trace=trace))
    await backend.unload(variant)
    await backend.ensure(PLACEMENT, variant, 1)
    run, control, load = sent
    assert run["ContentType"].startswith(f"{BINARY}{SIZE}")
    assert run["CustomAttributes"].split(";") == [
        f"model={VARIANT.artifact}",
        "decision_id=decision-1",
        "deadline=1700000003.000",
        f"traceparent={trace}",
    ]
    assert len(run["CustomAttributes"]) <= 1024
    request = parse_request(run["Body"], int(run["ContentType"].partition(SIZE)[2]))
    np.testing.assert_array_equal(request.inputs["x"], X)
    told = {"timeout": 3_000_000, "artifact": VARIANT.artifact, "binary_data_output": True, **said}
    assert request.parameters == told
    assert (load["CustomAttributes"], load["Body"]) == (
        f"model={VARIANT.artifact};action=load",
        dumps({"parameters": said}),
    )
    assert (control["CustomAttributes"], control["Body"]) == (f"model={VARIANT.artifact};action=unload", b"{}")
    await backend.close()


@pytest.mark.parametrize(
    ("code", "status", "fault"),
    [
        ("ThrottlingException", 400, Throttled),
        ("ServiceUnavailable", 503, Throttled),
        ("ModelNotReadyException", 429, NotReady),
        ("InternalFailure", 500, EnvironmentLost),
        ("InternalDependencyException", 530, EnvironmentLost),
        ("ValidationError", 400, NotReady),
        ("AccessDeniedException", 403, NotReady),
    ],
)
async def test_refusals_are_the_protocol_s(code: str, status: int, fault: type[BackendError]) -> None:
    pinned = Pinned("sagemaker-runtime")
    pinned.stub.add_client_error("invoke_endpoint", code, "no", status)
    backend = pinned.backend()
    with pytest.raises(fault, match=code):
        await backend.invoke(Invocation("r", PLACEMENT, VARIANT, {"x": X}, 53.0))
    await backend.close()


@pytest.mark.parametrize(
    ("code", "fault"),
    [("ThrottlingException", Throttled), ("ResourceLimitExceeded", Throttled), ("AccessDeniedException", NotReady)],
)
async def test_refusals_to_scale_are_the_protocol_s(code: str, fault: type[BackendError]) -> None:
    pinned, events = Pinned("sagemaker"), list[Event]()
    pinned.stub.add_response("describe_inference_component", described(0, 0))
    pinned.stub.add_client_error("update_inference_component_runtime_config", code)
    backend = pinned.backend(events.append)
    with pytest.raises(fault, match=code):
        await backend.provision(1)
    assert [type(event) for event in events] == [TierUnavailable]
    await backend.close()


def test_the_real_clients_never_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.backends import sagemaker_calls

    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "eu-west-1")
    for make in (sagemaker_calls._runtime, sagemaker_calls._control):
        config = make(8).meta.config  # type: ignore[attr-defined]
        assert config.retries["total_max_attempts"] == 1
        assert (config.connect_timeout, config.read_timeout) == (1.0, 8)
