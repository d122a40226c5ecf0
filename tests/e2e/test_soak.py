"""A platform at half of its capacity while its environments are killed: every request is answered exactly once.

Arrivals are open-loop: they do not wait for answers, so a platform that hangs is seen to.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cli.running import Running

LONG_S = float(os.environ.get("MODELLESS_SOAK_SECONDS", "120"))
PROBE_S = 2.0
PROBE_CALLERS = 8
"""As many as the smallest catalogue of process tiers has environments."""
PATIENCE_S = 40.0
"""Beyond the tiers' own timeout of 30 s: whoever has no answer by then is lost."""
LEAST_SERVED = 0.99
"""Of all requests; the rest may be refused with a reason while an environment is replaced."""

INFER = "/v2/models/digits/infer"


@dataclass(frozen=True, slots=True)
class Drill:
    """How long, and how often an environment is killed."""

    seconds: float
    kill_every_s: float


@dataclass(slots=True)
class Tally:
    """What came of each request, by its id."""

    sent: list[str] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)

    def statuses(self) -> Counter[int]:
        return Counter(status for statuses in self.answers.values() for status in statuses)


class Caller:
    """Asks for one prediction at a time, each under an id of its own, and keeps the tally."""

    def __init__(self, client: httpx.AsyncClient, body: dict[str, Any], labels: list[int]) -> None:
        self._client, self._body, self._labels = client, body, labels
        self.tally = Tally()

    async def ask(self, request: str) -> None:
        self.tally.sent.append(request)
        try:
            async with asyncio.timeout(PATIENCE_S):
                response = await self._client.post(INFER, json={**self._body, "id": request})
        except (TimeoutError, httpx.HTTPError) as error:
            self.tally.lost[request] = repr(error)
            return
        document = response.json()
        self.tally.answers.setdefault(document.get("id", request), []).append(response.status_code)
        if response.status_code != 200:
            self.tally.refusals.append(document["error"])
            return
        label = next(o["data"] for o in document["outputs"] if o["name"] == "label")
        assert len(label) == len(self._labels), document


async def capacity(caller: Caller) -> float:
    """Answers per second when PROBE_CALLERS ask without a pause."""
    due = time.monotonic() + PROBE_S

    async def keep_asking(who: int) -> None:
        count = 0
        while time.monotonic() < due:
            await caller.ask(f"probe-{who}-{count}")
            count += 1

    await asyncio.gather(*(keep_asking(who) for who in range(PROBE_CALLERS)))
    return caller.tally.statuses()[200] / PROBE_S


async def arrivals(caller: Caller, rate: float, seconds: float) -> None:
    """Poisson arrivals at `rate` per second; returns when every request has come to something."""
    draw = random.Random(0)
    start = due = time.monotonic()
    async with asyncio.TaskGroup() as asking:
        while due - start < seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            asking.create_task(caller.ask(f"soak-{len(caller.tally.sent)}"))
            due += draw.expovariate(rate)


async def kills(find: Callable[[], list[psutil.Process]], every_s: float, killed: list[int]) -> None:
    """Kill an environment every so often until cancelled."""
    draw = random.Random(1)
    while True:
        await asyncio.sleep(every_s)
        alive = find()
        if alive:
            victim = draw.choice(alive).pid
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)


async def soak(up: Running, find: Callable[[], list[psutil.Process]], drill: Drill, sample: Any) -> tuple[Tally, int]:
    """Half of the measured capacity under kills; the tally, and how many were killed."""
    rows = sample.rows[:8]
    async with httpx.AsyncClient(base_url=up.url, timeout=None, limits=httpx.Limits(max_connections=None)) as client:
        metadata = (await client.get("/v2/models/digits")).json()
        tensor = {"name": metadata["inputs"][0]["name"], "datatype": "FP32", "shape": list(rows.shape)}
        body = {"inputs": [{**tensor, "data": rows.ravel().tolist()}]}
        labels = sample.labels[:8].tolist()
        await capacity(Caller(client, body, labels))  # starts the environments
        rate = await capacity(Caller(client, body, labels)) / 2
        caller, killed = Caller(client, body, labels), list[int]()
        killing = asyncio.create_task(kills(find, drill.kill_every_s, killed))
        try:
            await arrivals(caller, rate, drill.seconds)
        finally:
            killing.cancel()
    print(f"{len(caller.tally.sent)} requests at {rate:.0f}/s, {len(killed)} kills: {dict(caller.tally.statuses())}")
    return caller.tally, len(killed)


@pytest.mark.parametrize(
    "drill",
    [pytest.param(Drill(10.0, 1.0), id="short"), pytest.param(Drill(LONG_S, 5.0), id="long", marks=pytest.mark.soak)],
)
async def test_every_request_is_answered_exactly_once(
    drill: Drill,
    processes_only: Path,
    start: Callable[..., Running],
    environments: Callable[[int], list[psutil.Process]],
    sample: Any,
) -> None:
    up = start(processes_only)
    tally, killed = await soak(up, lambda: environments(up.pid), drill, sample)
    statuses = tally.statuses()

    assert tally.lost == {}
    assert sorted(tally.answers) == sorted(tally.sent)
    assert all(len(statuses) == 1 for statuses in tally.answers.values())
    assert set(statuses) <= {200, 429, 503}, tally.refusals[:5]
    assert all(tally.refusals)
    assert statuses[200] >= LEAST_SERVED * len(tally.sent), tally.refusals[:5]
    assert killed >= drill.seconds / drill.kill_every_s / 2
