"""Every route of both faces, as its own application lists them, asked by strangers and by another tenant.

A stranger is told nothing but 401. Another tenant cannot tell what is not its own from what is not there.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest

from benchmarks.lambda_call import Context, http_event
from functions.api.routes import PUBLIC, Routes
from functions.aws.callers import principal
from functions.aws.feedback import Feedback
from functions.aws.inbox import Inbox
from gateway.app import create_app
from gateway.auth import Keyring, Principal, key_digest
from gateway.backends.fake import FakeBackend, steady
from gateway.jobs.jobs import Jobs
from gateway.metrics import Metrics
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from registry.receipt_keys import MemoryReceiptKeys
from registry.stores.jobs import MemoryJobs

Ask = Callable[[str, str, str | None], Awaitable[tuple[int, str]]]
"""Method, path and tenant (None: a stranger) to status and body."""

OWNER, OTHER = "111111111111/acme", "111111111111/globex"

SECRET, ABSENT = "secret", "absent"
"""A task of OWNER's, and one that is not there: names of one length."""

OPEN = {"/healthz", "/docs", "/openapi.json", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready"}
"""What anybody may ask for; whoever adds a route to it has a reason."""

OF_NO_TASK = {
    "/v1/inbox",
    "/v1/tasks",
    "/v1/jobs",
    "/v1/generations",
    "/v1/capacity",
    "/v2/repository/index",
    "/metrics",
}
"""What everybody gets their own of."""

BODIES: dict[str, dict[str, Any]] = {
    "predict": {"inputs": [[1.0, 2.0]]},
    "jobs": {"inputs": [[1.0, 2.0]]},
    "inbox": {"bytes": 5},
    "plan": {},
    "feedback": {"decision_id": "none", "expected": [1.0]},
    "infer": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]},
}


def facts() -> Catalogue:
    task = Task(
        SECRET,
        (TensorSpec("x", "FP32", (-1, 2)),),
        (TensorSpec("y", "FP32", (-1,)),),
        "accuracy",
        owner=OWNER,
        judged="y",
    )
    quick, placement = Quantiles((1.0,) * len(LEVELS), 1.0), Placement(f"{SECRET}/only", "a")
    profile = Profile(placement.id, (ServiceTime(8, quick, 1.0),), ZERO, ZERO, 1.0, "t", "none", 9, "now")
    variant = Variant(SECRET, "only", "blake3:" + "0" * 64, Recipe("t"), Accuracy(0.9, 0.9, 0.9, 9, "wilson"))
    tier = Tier("a", TierKind.PROCESS, 1.0, 1769, 4, StartMode.ALWAYS, Price(0.00003))
    made = Catalogue.empty().with_tasks(task, replace(task, name="shared", owner="public"))
    return made.with_tiers(tier).with_variants(variant).with_placements(placement).with_profiles(profile)


def serving() -> tuple[Service, Metrics]:
    snapshots = Snapshots(facts())
    backend = FakeBackend(
        snapshots.view()[0].tiers["a"],
        emit=snapshots.emit,
        answer=lambda invocation: {"y": np.sum(invocation.inputs["x"], axis=1)},
        timing=steady(run_ms=0.1),
    )
    metrics = Metrics({"a": backend})
    return Service(snapshots, {"a": backend}, observers=[metrics.observe]), metrics


class Local:
    """One machine's face: keys, Starlette's own list of routes."""

    def __init__(self) -> None:
        service, metrics = serving()
        keys = {key_digest(tenant): Principal(tenant, tenant) for tenant in (OWNER, OTHER)}
        jobs = Jobs(service, MemoryJobs(), send=lambda job: None)
        app = create_app(service, metrics=metrics, keyring=Keyring(keys), jobs=jobs)
        self.routes = [(method, r.path) for r in app.routes for method in r.methods - {"HEAD"}]
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")

    async def ask(self, method: str, path: str, tenant: str | None) -> tuple[int, str]:
        headers = {} if tenant is None else {"X-API-Key": tenant}
        answer = await self._http.request(method, path, headers=headers, json=body_for(method, path))
        return answer.status_code, answer.text


class Cloud:
    """The function's face: what the front door's authorizer proved, Powertools' own list of routes."""

    def __init__(self) -> None:
        service, _ = serving()
        feedback = Feedback(service, MemoryReceiptKeys(wall=time.time), lambda body: None)
        inbox = Inbox("bucket", client=Presigning())
        jobs = Jobs(service, MemoryJobs(), send=lambda job: None)
        self._routes = Routes(
            service, partial(principal, tenant_claim="sub"), feedback=feedback, jobs=jobs, inbox=inbox
        )
        known = [*self._routes.app._static_routes, *self._routes.app._dynamic_routes]
        self.routes = [(m, re.sub("<(.*?)>", r"{\1}", r.path)) for r in known for m in as_list(r.method)]

    async def ask(self, method: str, path: str, tenant: str | None) -> tuple[int, str]:
        arn = f"arn:aws:sts::{(tenant or '/').replace('/', ':assumed-role/')}/session"
        event = http_event(method, path, body_for(method, path), None if tenant is None else arn)
        answer = await self._routes.answer(event, Context())
        return int(answer["statusCode"]), answer["body"]


class Presigning:
    """What of S3 an offer takes."""

    def generate_presigned_url(self, operation: str, **options: Any) -> str:
        return f"https://bucket/{options['Params']['Key']}"


def as_list(methods: str | list[str]) -> list[str]:
    return [methods] if isinstance(methods, str) else methods


def body_for(method: str, path: str) -> Any:
    return BODIES.get(path.rpartition("/")[2]) if method == "POST" else None


def filled(path: str, name: str) -> str:
    """The path with whatever parameters it has."""
    for part in re.findall(r"\{.*?\}", path):
        value = "1" if part == "{version}" else name
        path = path.replace(part, value)
    return path


FACES = {"local": Local, "cloud": Cloud}
ROUTES = [(face, *route) for face, make in FACES.items() for route in sorted(make().routes)]
ASKED = [case for case in ROUTES if case[2] not in OPEN]


def test_routes_are_found_on_both_faces() -> None:
    for face in FACES:
        assert {path for f, _, path in ASKED if f == face} >= {"/v1/tasks", "/v1/tasks/{task}/predict"}
    assert set(PUBLIC) <= OPEN


@pytest.mark.parametrize(("face", "method", "path"), ASKED)
async def test_a_stranger_is_told_nothing(face: str, method: str, path: str) -> None:
    ask = FACES[face]().ask
    seen = {await ask(method, filled(path, name), None) for name in (SECRET, ABSENT)}

    assert [status for status, _ in seen] == [401]
    assert SECRET not in str(seen)


@pytest.mark.parametrize(
    ("face", "method", "path"), [case for case in ASKED if "{task}" in case[2] or "{model}" in case[2]]
)
async def test_another_tenants_task_is_as_one_that_is_not_there(face: str, method: str, path: str) -> None:
    ask = FACES[face]().ask
    foreign, absent = [await ask(method, filled(path, name), OTHER) for name in (SECRET, ABSENT)]

    assert foreign[0] == 404
    assert foreign == (absent[0], absent[1].replace(ABSENT, SECRET))


@pytest.mark.parametrize(("face", "method", "path"), [case for case in ASKED if case[2].endswith("{task}")])
async def test_the_owner_gets_in(face: str, method: str, path: str) -> None:
    status, body = await FACES[face]().ask(method, filled(path, SECRET), OWNER)

    assert status == 200
    assert SECRET in body


@pytest.mark.parametrize(("face", "method", "path"), [c for c in ASKED if c[2] in OF_NO_TASK])
async def test_lists_hold_what_is_ones_own(face: str, method: str, path: str) -> None:
    here = FACES[face]()
    assert (await here.ask("POST", f"/v1/tasks/{SECRET}/predict", OWNER))[0] == 200

    status, body = await here.ask(method, path, OTHER)
    assert status == 200
    assert SECRET not in body


@pytest.mark.parametrize("face", FACES)
async def test_another_tenants_decision_is_as_one_that_is_not_there(face: str) -> None:
    here = FACES[face]()
    _, answered = await here.ask("POST", f"/v1/tasks/{SECRET}/predict", OWNER)
    made = json.loads(answered)["decision"]["decision_id"]
    absent = "0" * len(made)
    foreign, nothing = [await here.ask("GET", f"/v1/decisions/{name}", OTHER) for name in (made, absent)]

    assert (await here.ask("GET", f"/v1/decisions/{made}", OWNER))[0] == 200
    assert foreign[0] == 404
    assert foreign == (nothing[0], nothing[1].replace(absent, made))


@pytest.mark.parametrize(("face", "method", "path"), ASKED)
def test_every_route_is_one_of_the_kinds_that_are_tested(face: str, method: str, path: str) -> None:
    parts = set(re.findall(r"\{(.*?)\}", path))

    assert path in OF_NO_TASK or parts & {"task", "model", "id", "decision_id", "job_id", "id_"}, (
        "say how this route is kept apart"
    )


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("face", FACES)
async def test_another_tenants_job_is_as_one_that_is_not_there(face: str, method: str) -> None:
    here = FACES[face]()
    _, submitted = await here.ask("POST", f"/v1/tasks/{SECRET}/jobs", OWNER)
    made = json.loads(submitted)["id"]
    absent = made[:-4] + ("0000" if made[-4:] != "0000" else "1111")
    foreign, nothing = [await here.ask(method, f"/v1/jobs/{name}", OTHER) for name in (made, absent)]

    assert foreign[0] == 404
    assert foreign == (nothing[0], nothing[1].replace(absent, made))
    assert (await here.ask("GET", f"/v1/jobs/{made}", OWNER))[0] == 200
    assert made not in (await here.ask("GET", "/v1/jobs", OTHER))[1]


async def test_metrics_show_the_owner_what_is_the_owners() -> None:
    here = Local()
    await here.ask("POST", f"/v1/tasks/{SECRET}/predict", OWNER)

    assert f'modelless_answers_total{{task="{SECRET}"' in (await here.ask("GET", "/metrics", OWNER))[1]
    assert "modelless_environments{" in (await here.ask("GET", "/metrics", OTHER))[1]
