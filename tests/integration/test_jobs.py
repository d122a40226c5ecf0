"""Jobs over the HTTP face, kept in a home and run beside requests by a real session."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gateway.app import create_app
from gateway.auth import Keyring, Principal, key_digest
from gateway.jobs.local import taking_jobs
from gateway.local import Platform, open_blobs, open_store
from gateway.schemas import JobResponse, JobsResponse
from optimizer.artifact import make_artifact
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
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
from registry.prices import local_tiers
from registry.store import update
from registry.stores.job_parts import FolderParts
from registry.stores.jobs import FILE, SqliteJobs
from registry.tenants import tenant_hash

LIMIT = 4 * 2**20
ENDED = {"succeeded", "failed", "cancelled"}
KEYS = {"alice": "acme", "eve": "globex"}
ALICE, EVE = ({"X-API-Key": name} for name in KEYS)
ASKED = {"inputs": [[1.0, 2.0, 3.0]]}


@pytest.fixture
def home(tmp_path: Path, graphs: Any) -> Path:
    """A home with one task, `product`, on the inline tier."""
    store = open_store(tmp_path)
    artifact = make_artifact(graphs.linear(np.ones((3, 2))), open_blobs(tmp_path))
    variant = Variant("product", "only", artifact, Recipe("test"), Accuracy(0.9, 0.9, 0.9, 10, "wilson"))
    placement, quick = Placement(variant.id, "inline"), Quantiles((1.0,) * len(LEVELS), 1.0)
    times = (ServiceTime(1, quick, 1.0), ServiceTime(8192, quick, 1.0))
    profile = Profile(placement.id, times, ZERO, ZERO, 1.0, "test", "none", 1, "now")
    task = Task("product", (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 2)),), "accuracy")

    def edit(base: Catalogue) -> Catalogue:
        made = base.with_tasks(task).with_tiers(*local_tiers()).with_variants(variant)
        return made.with_placements(placement).with_profiles(profile)

    update(store, edit)
    store.close()
    return tmp_path


@asynccontextmanager
async def serving(home: Path, at_once: int = 1, most_open: int = 3) -> AsyncIterator[httpx.AsyncClient]:
    keyring = Keyring({key_digest(name): Principal(name, tenant) for name, tenant in KEYS.items()})
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(Platform.open(home))
        jobs = await stack.enter_async_context(taking_jobs(platform, at_once, most_open=most_open))
        app = create_app(platform.service, metrics=platform.metrics, keyring=keyring, body_limit=LIMIT, jobs=jobs)
        transport = httpx.ASGITransport(app)
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://gateway"))


async def submit(http: httpx.AsyncClient, asked: Any = None, **headers: str) -> httpx.Response:
    return await http.post("/v1/tasks/product/jobs", json=asked or ASKED, headers={**ALICE, **headers})


async def ended(http: httpx.AsyncClient, id_: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (job := (await http.get(f"/v1/jobs/{id_}", headers=ALICE)).json())["state"] not in ENDED:  # noqa: ASYNC110 - as a caller does
            await asyncio.sleep(0.005)
    JobResponse.model_validate(job)
    return dict(job)


async def test_a_job_is_accepted_made_and_fetched(home: Path) -> None:
    async with serving(home) as http:
        accepted = await submit(http)
        job = accepted.json()
        assert (accepted.status_code, accepted.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
        assert {name: job[name] for name in ("task", "state", "started_at", "ended_at", "result", "error")} == {
            "task": "product",
            "state": "queued",
            "started_at": None,
            "ended_at": None,
            "result": None,
            "error": None,
        }
        done = await ended(http, job["id"])
        assert (done["state"], done["error"]) == ("succeeded", None)
        assert (done["result"]["outputs"], done["result"]["id"]) == ({"y": [[6.0, 6.0]]}, job["id"])
        assert done["submitted_at"] <= done["started_at"] <= done["ended_at"] < done["expires_at"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", done["ended_at"])


async def test_what_is_large_is_kept_in_files_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.stores.jobs.INLINE_BYTES", 30)
    async with serving(home) as http:
        done = await ended(http, (await submit(http, {"inputs": [[1.0, 2.0, 3.0]] * 20})).json()["id"])
        assert done["result"]["outputs"] == {"y": [[6.0, 6.0]] * 20}
    body, result = sorted(path.name for path in (home / "jobs" / tenant_hash("acme") / done["id"]).iterdir())
    assert body == "body"
    assert re.fullmatch("result-[0-9a-f]{16}", result)


async def test_lists_show_the_tenants_own_newest_first(home: Path) -> None:
    async with serving(home, at_once=0) as http:
        made = [(await submit(http)).json()["id"] for _ in range(3)]
        listed = (await http.get("/v1/jobs", headers=ALICE)).json()
        JobsResponse.model_validate(listed)
        assert [job["id"] for job in listed["jobs"]] == sorted(made, reverse=True)
        two = (await http.get("/v1/jobs?limit=2", headers=ALICE)).json()["jobs"]
        assert [job["id"] for job in two] == sorted(made, reverse=True)[:2]
        assert (await http.get("/v1/jobs", headers=EVE)).json() == {"jobs": []}
        for query in ("limit=0", "limit=x", "limit=99999", "limit=201", "newest=1"):
            assert (await http.get(f"/v1/jobs?{query}", headers=ALICE)).status_code == 422


async def test_whoever_may_not_is_told_so(home: Path) -> None:
    async with serving(home, at_once=0) as http:
        id_ = (await submit(http)).json()["id"]
        for method in ("GET", "DELETE"):
            assert (await http.request(method, f"/v1/jobs/{id_}")).status_code == 401
            assert (await http.request(method, f"/v1/jobs/{id_}", headers=EVE)).status_code == 404
        assert (await http.post("/v1/tasks/product/jobs", json=ASKED)).status_code == 401
        assert (await http.get("/v1/jobs")).status_code == 401
        assert (await http.post("/v1/tasks/none/jobs", json=ASKED, headers=ALICE)).status_code == 404
        assert (await submit(http, {"inputs": [[1.0]]})).status_code == 422
        over = await http.post("/v1/tasks/product/jobs", content=b" " * (LIMIT + 1), headers=ALICE)
        assert over.status_code == 413
        assert (await http.get("/v1/jobs/nothing", headers=ALICE)).json()["error"]["code"] == "not_found"


async def test_one_key_is_one_job(home: Path) -> None:
    async with serving(home, at_once=0) as http:
        key = {"Idempotency-Key": "k-1"}
        answers = await asyncio.gather(*(submit(http, **key) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        other = await submit(http, {"inputs": [[9.0, 9.0, 9.0]]}, **key)
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")


async def test_too_many_are_refused_until_some_have_ended(home: Path) -> None:
    async with serving(home, at_once=0) as http:
        ids = [(await submit(http)).json()["id"] for _ in range(3)]
        refused = await submit(http)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_jobs")
        assert int(refused.headers["retry-after"]) >= 1
        cancelled = await http.delete(f"/v1/jobs/{ids[0]}", headers=ALICE)
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert (await submit(http)).status_code == 202


async def test_what_has_ended_cannot_be_cancelled(home: Path) -> None:
    async with serving(home) as http:
        id_ = (await submit(http)).json()["id"]
        await ended(http, id_)
        refused = await http.delete(f"/v1/jobs/{id_}", headers=ALICE)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_ended")


async def test_what_waited_or_ran_when_a_platform_went_down_is_made_by_the_next(home: Path) -> None:
    async with serving(home, at_once=0) as http:
        ids = [(await submit(http)).json()["id"] for _ in range(2)]
    store = SqliteJobs(home / FILE, FolderParts((home / FILE).parent))
    abandoned = store.claim_next("gone", 0.0)  # by a process that was killed, its lease over
    assert abandoned is not None
    store.close()
    async with serving(home) as http:
        done = [await ended(http, id_) for id_ in ids]
    assert [job["state"] for job in done] == ["succeeded", "succeeded"]
