"""Prewarm and evict over one table as moto plays it, Lambda and SageMaker as our own fakes do: one plan, two hands."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.aws import capacity as module
from functions.aws.capacity import Capacity
from functions.aws.settings import CapacitySettings
from gateway.backends import sagemaker_calls
from gateway.backends.components import Component
from gateway.backends.sagemaker_fake import FakeComponents
from gateway.capacity.carry_out import Part
from registry.activity import Usage
from registry.catalogue import Catalogue
from registry.copies import START_S
from registry.model import (
    LEVELS,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import lambda_tiers, sagemaker_tier
from registry.store import update
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_activity import DynamoActivity
from registry.stores.dynamodb_sightings import DynamoSightings
from registry.stores.dynamodb_table import DynamoTable
from scheduler.actions import Provision, Unload, Warm
from scheduler.capacity import Plan

ONDEMAND = next(tier for tier in lambda_tiers() if tier.name == "lambda-1769")
GPU = sagemaker_tier()
WORKERS = {ONDEMAND.name: f"arn:aws:lambda:us-east-1:1:function:{ONDEMAND.name}:live"}
START = 29_000_000 * 60.0 + 20.0
FINE = Placement("sum/fine", ONDEMAND.name)


def steady(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)


def catalogue(base: Catalogue) -> Catalogue:
    """Task `sum` on both tiers: quick where it is resident, late where it is not."""
    spec = (TensorSpec("x", "FP32", (-1, 2)),)
    task = Task("sum", spec, (TensorSpec("y", "FP32", (-1,)),), "accuracy", Slo(latency_ms=100.0))
    variant = Variant("sum", "fine", "blake3:" + "0" * 64, Recipe("t"), Accuracy(0.98, 0.97, 0.99, 500, "wilson"))
    made = base.with_tasks(task).with_variants(variant).with_tiers(ONDEMAND, GPU)
    for placement in (FINE, Placement("sum/fine", GPU.name)):
        service = (ServiceTime(1, steady(5.0), 5.0), ServiceTime(8, steady(9.0), 9.0))
        profile = Profile(placement.id, service, steady(400.0), steady(600.0), 20.0, "t", "none", 30, "2026")
        made = made.with_placements(placement).with_profiles(profile)
    return made


def silent(body: bytes, kind: str, attributes: str) -> tuple[int, bytes, str]:
    """A copy that nobody is to ask anything."""
    raise AssertionError(attributes)


class Lambda:
    """A function on Lambda, and the environment that holds variants."""

    def __init__(self) -> None:
        self.environments: dict[str, set[str]] = {}
        self.sent: list[dict[str, Any]] = []
        self.refuses = False

    def invoke(self, **request: Any) -> dict[str, Any]:
        if self.refuses:
            raise ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "busy"}}, "Invoke")
        event = json.loads(request["Payload"])
        self.sent.append(event)
        resident = self.environments.setdefault("e1", set())
        (resident.add if event["kind"] == "warm" else resident.discard)(event["variant"])
        body = {"environment": "e1", "resident": sorted(resident), "loaded": True, "load_ms": 1.0, "run_ms": 0.0}
        tail = base64.b64encode(b"REPORT Duration: 1.50 ms Billed Duration: 2 ms").decode()
        return {"LogResult": tail, "Payload": io.BytesIO(json.dumps(body).encode())}


class Cloud:
    """The table, Lambda, a component, and both functions, each of which can be started anew."""

    def __init__(self, table: DynamoTable) -> None:
        self.now = 0.0
        self.table = table
        self.log = DynamoActivity(self.table)
        self.worker = Lambda()
        self.component = FakeComponents("gpu", "component", clock=lambda: self.now, answer=silent)

    def function(self, part: Part, budget: float = 1.0) -> Capacity:
        return Capacity(
            CapacitySettings("facts", WORKERS, budget, {GPU.name: Component("gpu", "component", 3)}),
            part,
            table=self.table,
            make_lambda=lambda timeout_s: self.worker,
            clock=lambda: self.now,
            wall=lambda: START + self.now,
        )

    def copies(self) -> int:
        """How many are asked for."""
        found = self.component.describe_inference_component(InferenceComponentName="component")
        return int(found["RuntimeConfig"]["DesiredCopyCount"])

    def asked(self, *minutes: int) -> None:
        for minute in minutes:
            self.log.add(29_000_000 + minute, [Usage("sum", 3, 3, Slo(latency_ms=100.0))])


@pytest.fixture
def cloud(table: DynamoTable, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    update(DynamoStore(table), catalogue)
    made = Cloud(table)
    monkeypatch.setattr(sagemaker_calls, "make_client", lambda service, timeout_s: made.component)
    return made


def planning(monkeypatch: pytest.MonkeyPatch, *actions: Any) -> None:
    """Have every plan want these actions."""

    def fixed(*facts: Any, **bounds: float) -> Plan:
        return Plan(actions, 0.1, 0.2, {}, {})

    keeper = module.Keeper
    monkeypatch.setattr(module, "Keeper", lambda *given, **named: keeper(*given, planner=fixed, **named))


def results(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(a["action"], a["tier"], a["result"]) for a in document["actions"]]


async def test_what_is_asked_for_every_minute_is_warm_before_it_is_asked_for_again(cloud: Cloud) -> None:
    cloud.asked(*range(30))
    cloud.now = 30 * 60.0
    document = await cloud.function(Part.GROW).once()
    (demand,) = document["demands"]
    assert demand["probability"] > 0.5
    assert ("warm", ONDEMAND.name, "done") in results(document)
    assert cloud.worker.environments["e1"] == {"sum/fine"}
    assert document["usd_per_h"] <= document["budget_usd_per_h"] == 1.0
    assert json.loads(json.dumps(document)) == document


async def test_what_was_never_asked_for_is_expected_too_rarely_to_start_anything(cloud: Cloud) -> None:
    document = await cloud.function(Part.GROW).once()
    assert document["claimed"]
    assert [demand["probability"] for demand in document["demands"]] == [pytest.approx(1 / 1440)]
    assert cloud.worker.sent == []


async def test_overlapping_schedules_and_restarts_do_no_more_than_one(cloud: Cloud) -> None:
    cloud.asked(*range(30))
    cloud.now = 30 * 60.0
    first = cloud.function(Part.GROW)
    done, late = await asyncio.gather(first.once(), cloud.function(Part.GROW).once())
    assert sorted([done["claimed"], late["claimed"]]) == [False, True]
    assert await first.once() == {"claimed": False}
    sent = len(cloud.worker.sent)
    cloud.now += 60.0
    # Another environment knows from the table what is warm, so it warms nothing again.
    again = await cloud.function(Part.GROW).once()
    assert ("warm", ONDEMAND.name, "already so") in results(again)
    assert len(cloud.worker.sent) == sent


async def test_both_functions_plan_the_same_and_each_carries_out_its_part(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    planning(monkeypatch, Warm(FINE, "soon"), Provision(GPU.name, 2, "it pays"), Unload(FINE, "late"))
    cloud.asked(1, 2, 3)
    cloud.now = 300.0
    grow, shrink = cloud.function(Part.GROW), cloud.function(Part.SHRINK)
    grown = await grow.once()
    assert results(grown) == [("warm", ONDEMAND.name, "done"), ("provision", GPU.name, "done")]
    assert cloud.copies() == 2
    shrunk = await shrink.once()
    assert shrunk["demands"] == grown["demands"]
    # What prewarm has warmed, evict knows from the table.
    assert results(shrunk) == [("provision", GPU.name, "already so"), ("unload", ONDEMAND.name, "done")]
    assert cloud.worker.environments["e1"] == set()


async def test_a_count_is_raised_by_one_and_lowered_by_the_other(cloud: Cloud) -> None:
    for wanted, part, result, left in (
        (2, Part.SHRINK, "already so", 0),
        (2, Part.GROW, "done", 2),
        (1, Part.GROW, "already so", 2),
        (1, Part.SHRINK, "done", 1),
        (0, Part.SHRINK, "done", 0),
    ):
        with pytest.MonkeyPatch.context() as patch:
            planning(patch, Provision(GPU.name, wanted, ""))
            cloud.now += START_S + 60.0  # by when what was asked for before is so
            assert results(await cloud.function(part).once()) == [("provision", GPU.name, result)]
        assert cloud.copies() == left


async def test_the_copy_that_a_component_is_made_with_is_given_up_before_anything_is_measured_on_it(
    table: DynamoTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud(table)
    cloud.component = FakeComponents("gpu", "component", clock=lambda: cloud.now, answer=silent, copies=1)
    monkeypatch.setattr(sagemaker_calls, "make_client", lambda service, timeout_s: cloud.component)
    await cloud.function(Part.GROW).once()
    assert cloud.copies() == 1
    shrink = cloud.function(Part.SHRINK)
    for _ in range(3):  # of which only the first has to ask
        await shrink.once()
        cloud.now += 60.0
    assert cloud.copies() == 0
    assert cloud.component.calls.count("UpdateInferenceComponentRuntimeConfig") == 1


async def test_what_fails_is_told_and_tried_again_the_next_minute(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    planning(monkeypatch, Warm(FINE, "soon"))
    function = cloud.function(Part.GROW)
    cloud.worker.refuses = True
    (action,) = (await function.once())["actions"]
    assert (action["result"], "busy" in action["why"]) == ("failed", True)
    cloud.worker.refuses = False
    cloud.now += 60.0
    assert results(await function.once()) == [("warm", ONDEMAND.name, "done")]


async def test_what_others_saw_long_ago_is_gone(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    planning(monkeypatch, Warm(FINE, "soon"))
    await cloud.function(Part.GROW).once()
    assert [s.resident for s in DynamoSightings(cloud.table).since(START, START + 1)] == [("sum/fine",)]
    cloud.now = ONDEMAND.idle_timeout_s + 60.0
    assert results(await cloud.function(Part.GROW).once()) == [("warm", ONDEMAND.name, "done")]
    assert len(cloud.worker.sent) == 2
