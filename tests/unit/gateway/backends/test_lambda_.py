"""The Lambda backend against botocore's own stub: what is sent, and what each answer means."""

from __future__ import annotations

import base64
import io
import json
import time
from dataclasses import replace

import boto3
import numpy as np
import pytest
from botocore import exceptions as aws
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from gateway.backends import lambda_
from gateway.backends.lambda_ import LambdaBackend
from gateway.backends.protocol import Invocation
from gateway.errors import CorruptArtifact, EnvironmentLost, ExecutionFailed, NotReady, Throttled, TimedOut
from registry.model import Accuracy, Placement, Price, Recipe, StartMode, Tier, TierKind, Variant
from runtime.codecs import wire

ONDEMAND = Tier("lambda-1769", TierKind.LAMBDA, 1.0, 1769, 10, StartMode.ONDEMAND, Price(0.00003))
VARIANT = Variant("sum", "a", "blake3:" + "0" * 64, Recipe("test"), Accuracy(0.9, 0.9, 0.9, 9, "wilson"))
PLACEMENT = Placement("sum/a", "lambda-1769", threads=2, prepack=False)
X = np.ones((1, 3), np.float32)


class Rig:
    def __init__(self, tier=ONDEMAND, **options):
        self.client = boto3.client(
            "lambda",
            region_name="eu-west-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.stub = Stubber(self.client)
        self.stub.activate()
        self.timeouts, self.events, self.sent = [], [], []
        self.client.meta.events.register("before-parameter-build.lambda.Invoke", self.note)
        self.backend = LambdaBackend(
            tier, emit=self.events.append, function="worker:live", make_client=self.make, **options
        )

    def note(self, params, **_):
        self.sent.append(json.loads(params["Payload"]))

    def make(self, timeout_s):
        self.timeouts.append(timeout_s)
        return self.client

    def answer(self, document, *, report="Billed Duration: 12 ms", tenant=None, **fields):
        body = json.dumps(document).encode()
        tail = base64.b64encode(f"END\nREPORT RequestId: 1 Duration: 11.2 ms {report} Memory Size: 1769 MB".encode())
        response = {"StatusCode": 200, "LogResult": tail.decode(), **fields}
        response["Payload"] = StreamingBody(io.BytesIO(body), len(body))
        expected = {
            "FunctionName": "worker:live",
            "Payload": ANY,
            "LogType": "Tail",
            **({"TenantId": tenant} if tenant else {}),
        }
        self.stub.add_response("invoke", response, expected)

    async def invoke(self, x=X, within_s=3.0):
        return await self.backend.invoke(Invocation("r", PLACEMENT, VARIANT, {"x": x}, time.monotonic() + within_s))


def reply(environment="e1", *, loaded=False, resident=("sum/a",)):
    outputs = wire.encode({"y": np.ones((1, 1), np.float32)})
    return {
        "outputs": outputs,
        "loaded": loaded,
        "load_ms": 4.0 if loaded else 0.0,
        "run_ms": 2.0,
        "resident": list(resident),
        "memory_mb": 90.0,
        "environment": environment,
    }


async def test_a_cold_and_a_warm_reply_with_lambdas_own_figures():
    rig = Rig()
    rig.answer(reply(loaded=True), report="Billed Duration: 130 ms Init Duration: 118.00 ms")
    rig.answer(reply())
    cold, warm = await rig.invoke(), await rig.invoke()
    # The price model adds INIT itself, so it is taken out of what Lambda billed for both.
    assert (cold.cold, cold.init_ms, cold.billed_ms, cold.load_ms) == (True, 118.0, 12.0, 4.0)
    assert (warm.cold, warm.init_ms, warm.billed_ms, warm.run_ms) == (False, 0.0, 12.0, 2.0)
    np.testing.assert_array_equal(warm.outputs["y"], [[1.0]])
    assert [type(e).__name__ for e in rig.events] == ["EnvironmentStarting", "EnvironmentReady", "EnvironmentReady"]
    assert dict(rig.backend.status().resident) == {"sum/a": 1}


async def test_a_restore_is_a_cold_start():
    rig = Rig(Tier("lambda-1769", TierKind.LAMBDA, 1.0, 1769, 10, StartMode.SNAPSTART, Price(0.00003)))
    rig.answer(reply(), report="Billed Duration: 40 ms Restore Duration: 220.5 ms Billed Restore Duration: 9 ms")
    got = await rig.invoke()
    assert (got.cold, got.init_ms, got.billed_ms) == (True, 220.5, 40.0)


async def test_without_a_log_tail_the_workers_own_account_is_billed():
    rig = Rig()
    rig.answer(reply(loaded=True), report="")
    got = await rig.invoke()
    assert (got.cold, got.billed_ms) == (True, 6.0)


@pytest.mark.parametrize(
    ("metrics", "cold", "billed_ms", "init_ms"),
    [
        ({"billedDurationMs": 130, "initDurationMs": 118.0}, True, 12.0, 118.0),
        ({"billedDurationMs": 12}, False, 12.0, 0.0),
        ({"billedDurationMs": 40, "restoreDurationMs": 220.5, "billedRestoreDurationMs": 9}, True, 40.0, 220.5),
    ],
)
async def test_a_function_that_logs_json_reports_the_same(metrics, cold, billed_ms, init_ms):
    start_mode = StartMode.SNAPSTART if "restoreDurationMs" in metrics else StartMode.ONDEMAND
    rig = Rig(replace(ONDEMAND, start_mode=start_mode))
    record = {"type": "platform.report", "record": {"metrics": {"durationMs": 11.2, **metrics}}}
    rig.answer(reply(), report=json.dumps(record))
    got = await rig.invoke()
    assert (got.cold, got.billed_ms, got.init_ms) == (cold, billed_ms, init_ms)


async def test_an_environment_that_is_new_to_us_and_was_not_started_for_us_is_not_cold():
    rig = Rig()
    rig.answer(reply("served others"))
    assert not (await rig.invoke()).cold


async def test_environments_are_kept_busy_by_calls_at_once():
    rig = Rig()
    for environment in ("e1", "e2"):
        rig.answer(reply(environment, resident=("sum/a",)))
    await rig.backend.occupy(VARIANT, 2, 700)
    assert rig.sent == [{"kind": "unload", "variant": "sum/", "hold_ms": 700}] * 2
    assert rig.backend.status().resident == {"sum/a": 2}


async def test_the_event_carries_the_placements_settings():
    rig = Rig()
    rig.answer(reply())
    sent = []
    rig.client.meta.events.register("before-parameter-build.lambda.Invoke", lambda params, **_: sent.append(params))
    await rig.invoke()
    event = json.loads(sent[0]["Payload"])
    assert (event["kind"], event["variant"], event["artifact"]) == ("infer", "sum/a", VARIANT.artifact)
    assert (event["threads"], event["prepack"]) == (2, False)
    np.testing.assert_array_equal(wire.decode(event["inputs"])["x"], X)


@pytest.mark.parametrize(
    ("error_type", "fault"),
    [
        ("CorruptArtifact", CorruptArtifact),
        ("ExecutionFailed", ExecutionFailed),
        ("NoRoom", ExecutionFailed),
        ("Sandbox.Timedout", TimedOut),
        ("Runtime.ExitError", EnvironmentLost),
        ("Runtime.OutOfMemory", EnvironmentLost),
        ("ZeroDivisionError", ExecutionFailed),
    ],
)
async def test_function_errors_are_the_protocols(error_type, fault):
    rig = Rig()
    rig.answer({"errorType": error_type, "errorMessage": "why"}, FunctionError="Unhandled")
    with pytest.raises(fault, match="why"):
        await rig.invoke()


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("TooManyRequestsException", Throttled),
        ("ResourceNotReadyException", NotReady),
        ("ResourceNotFoundException", NotReady),
        ("SnapStartNotReadyException", NotReady),
        ("AccessDeniedException", NotReady),
        ("RequestTooLargeException", ExecutionFailed),
    ],
)
async def test_refusals_are_the_protocols(code, fault):
    rig = Rig()
    rig.stub.add_client_error("invoke", code, "why", response_meta={"HTTPHeaders": {"retry-after": "7"}})
    with pytest.raises(fault, match="why") as refused:
        await rig.invoke()
    if fault is Throttled:
        assert refused.value.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (aws.ReadTimeoutError(endpoint_url="u"), TimedOut),
        (aws.ConnectTimeoutError(endpoint_url="u"), NotReady),
        (aws.EndpointConnectionError(endpoint_url="u"), NotReady),
        (aws.NoCredentialsError(), NotReady),
        (aws.ConnectionClosedError(endpoint_url="u"), EnvironmentLost),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_transport_faults_are_the_protocols(error, fault):
    class Failing:
        def invoke(self, **request):
            raise error

    backend = LambdaBackend(ONDEMAND, emit=[].append, function="f", make_client=lambda timeout_s: Failing())
    with pytest.raises(fault):
        await backend.invoke(Invocation("r", PLACEMENT, VARIANT, {"x": X}, time.monotonic() + 3))


async def test_the_read_timeout_covers_the_time_left_and_clients_are_kept():
    rig = Rig()
    for _ in range(3):
        rig.answer(reply())
    for within_s in (3.0, 3.5, 30.0):
        await rig.invoke(within_s=within_s)
    assert rig.timeouts == [4, 32]


async def test_a_payload_over_lambdas_limit_is_not_sent(monkeypatch):
    monkeypatch.setattr(lambda_, "MAX_PAYLOAD", 100)
    with pytest.raises(ExecutionFailed, match="bytes"):
        await Rig().invoke()


async def test_answers_that_are_none_are_failures():
    rig = Rig()
    rig.answer({"outputs": [{"name": "y"}], "environment": "e", "loaded": 1, "run_ms": 1, "load_ms": 0})
    with pytest.raises(ExecutionFailed, match="not one"):
        await rig.invoke()


async def test_ensure_sends_as_many_at_once_as_are_wanted_and_gives_up_when_lambda_has_no_more():
    rig = Rig()
    for environment in ("e1", "e1", "e1", "e2"):
        rig.answer(reply(environment))
    await rig.backend.ensure(PLACEMENT, VARIANT, 2)
    assert rig.backend.status().resident == {"sum/a": 2}
    await rig.backend.ensure(PLACEMENT, VARIANT, 2)
    assert len(rig.sent) == 4
    assert {event["hold_ms"] for event in rig.sent} == {lambda_.HOLD_MS}
    for _ in range(9):
        rig.answer(reply("e2"))
    with pytest.raises(Throttled, match="fewer than 3"):
        await rig.backend.ensure(PLACEMENT, VARIANT, 3)
    with pytest.raises(Throttled, match="allows 10"):
        await rig.backend.ensure(PLACEMENT, VARIANT, 11)


async def test_ensure_asks_for_no_more_than_can_be_told_apart():
    rig = Rig(threads=2)
    for environment in ("e1", "e2"):
        rig.answer(reply(environment))
    await rig.backend.ensure(PLACEMENT, VARIANT, 3)
    assert len(rig.sent) == 2


async def test_a_single_copy_is_not_held():
    rig = Rig()
    rig.answer(reply())
    await rig.backend.ensure(PLACEMENT, VARIANT, 1)
    assert [event["hold_ms"] for event in rig.sent] == [0]


async def test_only_what_is_known_to_hold_a_variant_is_asked_to_give_it_up():
    rig = Rig()
    await rig.backend.unload(VARIANT)
    assert rig.sent == []
    now = time.monotonic()
    rig.backend.sighted("lambda-1769-e1", ("sum/a",), now)
    rig.backend.sighted("lambda-1769-e2", ("sum/b",), now)
    rig.backend.sighted("lambda-1769-e2", ("sum/a",), now - 1)  # older news
    rig.backend.sighted("lambda-1769-e3", ("sum/a",), now - ONDEMAND.idle_timeout_s - 1)  # gone by now
    assert rig.backend.status().resident == {"sum/a": 1, "sum/b": 1}
    for environment in ("e1", "e2"):
        rig.answer(reply(environment, resident=("sum/b",)))
    await rig.backend.unload(VARIANT)
    assert rig.backend.status().resident == {"sum/b": 2}
    assert [event["kind"] for event in rig.sent] == ["unload", "unload"]
    rig.backend.sighted("lambda-1769-e1", ("sum/a",), time.monotonic())
    for _ in range(6):
        rig.answer(reply("e2", resident=()))
    with pytest.raises(Throttled, match="1 environments of lambda-1769 were not reached"):
        await rig.backend.unload(VARIANT)


def provisioned(rig, count):
    target = {"FunctionName": "worker", "Qualifier": "live"}
    answer = {"RequestedProvisionedConcurrentExecutions": count, "Status": "IN_PROGRESS"}
    if count:
        rig.stub.add_response("get_provisioned_concurrency_config", answer, target)
    else:
        code = "ProvisionedConcurrencyConfigNotFoundException"
        rig.stub.add_client_error("get_provisioned_concurrency_config", code, expected_params=target)
    return target


async def test_provisioned_concurrency_is_set_and_ended_where_it_is_another():
    rig = Rig()
    target = provisioned(rig, 0)
    rig.stub.add_response("put_provisioned_concurrency_config", {}, target | {"ProvisionedConcurrentExecutions": 2})
    assert await rig.backend.provision(2) is True
    provisioned(rig, 2)
    assert await rig.backend.provision(2) is False
    provisioned(rig, 2)
    rig.stub.add_response("delete_provisioned_concurrency_config", {}, target)
    assert await rig.backend.provision(0) is True
    provisioned(rig, 0)
    assert await rig.backend.provision(0) is False
    rig.stub.assert_no_pending_responses()


async def test_what_cannot_be_provisioned_says_why():
    snapstart = Rig(replace(ONDEMAND, start_mode=StartMode.SNAPSTART))
    with pytest.raises(NotReady, match="no alias or version"):
        await snapstart.backend.provision(1)
    rig = Rig()
    with pytest.raises(Throttled, match="allows 10"):
        await rig.backend.provision(11)
    rig.stub.add_client_error("get_provisioned_concurrency_config", "AccessDeniedException")
    with pytest.raises(NotReady, match="AccessDenied"):
        await rig.backend.provision(1)
    rig.stub.add_client_error("get_provisioned_concurrency_config", "TooManyRequestsException")
    with pytest.raises(Throttled):
        await rig.backend.provision(1)


ACCELERATED = replace(ONDEMAND, kind=TierKind.GPU, start_mode=StartMode.PROVISIONED)


async def test_an_accelerator_s_environments_are_scaled_by_version_and_down_to_none():
    rig = Rig(ACCELERATED)
    rig.backend._function = "arn:aws:lambda:us-east-1:123456789012:function:gpu:$LATEST.PUBLISHED"
    target = {
        "FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:gpu",
        "Qualifier": "$LATEST.PUBLISHED",
    }

    def scaled(**configs):
        named = {
            f"{name}FunctionScalingConfig": {"MinExecutionEnvironments": least, "MaxExecutionEnvironments": 10}
            for name, least in configs.items()
        }
        rig.stub.add_response("get_function_scaling_config", named, target)

    def expect(least):
        config = {"MinExecutionEnvironments": least, "MaxExecutionEnvironments": 10}
        rig.stub.add_response("put_function_scaling_config", {}, target | {"FunctionScalingConfig": config})

    scaled()
    expect(1)
    assert await rig.backend.provision(1) is True
    scaled(Applied=0, Requested=1)
    assert await rig.backend.provision(1) is False
    scaled(Applied=1)
    assert await rig.backend.provision(0, fewer=False) is False
    scaled(Applied=1)
    expect(0)
    assert await rig.backend.provision(0) is True
    rig.stub.assert_no_pending_responses()


def test_the_real_client_never_retries(monkeypatch):
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "eu-west-1")
    config = lambda_._botocore_client(8).meta.config
    assert config.retries["total_max_attempts"] == 1
    assert (config.connect_timeout, config.read_timeout) == (1.0, 8)


async def test_a_function_that_isolates_tenants_is_told_whose_task_it_is():
    rig = Rig(tenant_of={"sum": "acme"}.__getitem__)
    rig.answer(reply(), tenant="acme")
    rig.answer(reply(loaded=True), tenant="acme")
    rig.answer(reply(resident=()), tenant="acme")

    await rig.invoke()
    await rig.backend.release()
    await rig.backend.ensure(PLACEMENT, VARIANT, 1)
    await rig.backend.unload(VARIANT)
    rig.stub.assert_no_pending_responses()
