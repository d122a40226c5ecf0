"""A small catalogue on two Lambda tiers, a service over fake backends, and events as the front doors make them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from benchmarks.lambda_call import READER, Context, http_event
from functions.api.routes import Routes
from functions.aws.callers import principal
from gateway.backends.fake import FakeBackend, measured
from gateway.backends.protocol import Invocation, Tensors
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import lambda_tiers

SMALL, LARGE = "lambda-1769-snapstart", "lambda-3538-snapstart"


def steady_ms(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)


def profile(placement: Placement, ms: float) -> Profile:
    return Profile(
        placement=placement.id,
        service=(ServiceTime(1, steady_ms(ms), ms), ServiceTime(8, steady_ms(ms), ms)),
        load=steady_ms(5.0),
        init=steady_ms(20.0),
        memory_mb=20.0,
        fingerprint="test",
        cpu_share="none",
        samples=30,
        measured_at="2026-01-01T00:00:00+00:00",
    )


def variant(task: str, name: str, accuracy: float) -> Variant:
    measured_as = Accuracy(accuracy, accuracy - 0.01, min(1.0, accuracy + 0.01), 500, "wilson")
    return Variant(task, name, "blake3:" + "0" * 64, Recipe("train"), measured_as)


def task(name: str, owner: str = "public") -> Task:
    inputs = (TensorSpec("x", "FP32", (-1, 2)),)
    return Task(name, inputs, (TensorSpec("y", "FP32", (-1,)),), "accuracy", owner=owner)


@pytest.fixture
def catalogue() -> Catalogue:
    """Task `sum`: `rough`, fast and poor, and `fine`, slow and good, each on both tiers; task `secret` is acme's."""
    variants = [variant("sum", "rough", 0.90), variant("sum", "fine", 0.98), variant("secret", "only", 0.9)]
    times = {("rough", SMALL): 4.0, ("rough", LARGE): 3.0, ("fine", SMALL): 40.0, ("fine", LARGE): 30.0}
    placements = {Placement(f"sum/{name}", tier): ms for (name, tier), ms in times.items()}
    placements[Placement("secret/only", SMALL)] = 4.0
    return (
        Catalogue.empty()
        .with_tasks(task("sum"), task("secret", owner="acme"))
        .with_variants(*variants)
        .with_tiers(*lambda_tiers())
        .with_placements(*placements)
        .with_profiles(*(profile(placement, ms) for placement, ms in placements.items()))
    )


@dataclass
class Api:
    """The API over fake backends, called as Lambda calls it."""

    routes: Routes
    backends: dict[str, FakeBackend]
    service: Service

    async def __call__(
        self, method: str, path: str, body: Any = None, *, arn: str | None = READER, left_ms: int = 29_000
    ) -> tuple[int, Any]:
        """Status and parsed body."""
        answer = await self.answer(method, path, body, arn=arn, left_ms=left_ms)
        return int(answer["statusCode"]), body_of(answer)

    async def answer(
        self, method: str, path: str, body: Any = None, *, arn: str | None = READER, left_ms: int = 29_000
    ) -> dict[str, Any]:
        """What Lambda is given."""
        return await self.routes.answer(http_event(method, path, body, arn), Context(left_ms=left_ms))

    def say(self, text: str) -> None:
        """Have every backend answer so from now on."""
        for backend in self.backends.values():
            backend._answer = lambda _: {"y": np.array([text.encode()], dtype=object)}


def body_of(answer: Mapping[str, Any]) -> Any:
    """An answer's parsed body, as a front door passes it on."""
    return json.loads(b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"])


@pytest.fixture
def api(catalogue: Catalogue) -> Api:
    snapshots = Snapshots(catalogue)

    def add_up(invocation: Invocation) -> Tensors:
        return {"y": np.sum(invocation.inputs["x"], axis=1)}

    backends = {
        name: FakeBackend(
            catalogue.tiers[name], emit=snapshots.emit, answer=add_up, timing=measured(catalogue.profiles)
        )
        for name in (SMALL, LARGE)
    }
    identify = partial(principal, tenant_claim="sub")
    service = Service(snapshots, backends)
    return Api(Routes(service, identify), backends, service)


@pytest.fixture
def make_event() -> Callable[..., dict[str, Any]]:
    return http_event
