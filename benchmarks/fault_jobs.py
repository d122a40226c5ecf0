"""Scenarios of accepted jobs on the real platform: whatever is killed, each comes to one end, and the right one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.fault_processes import PAUSE_S, TIMEOUT_S, easy, full_disk
from benchmarks.fault_tally import End, Phase, Tally
from cli.running import Running, running
from examples.digits.build import TASK
from gateway.auth import ANONYMOUS
from registry.stores.job_parts import FolderParts
from registry.stores.jobs import FILE, SqliteJobs

JOBS = f"/v1/tasks/{TASK.name}/jobs"
SUBMITTERS = 2
DUE_S = 120.0
"""Until every accepted job has ended once all is well; a lease of a killed gateway's runs out after 30 s."""


@dataclass(slots=True)
class Platform:
    """A home and whichever process serves it now."""

    home: Path
    serving: Running | None = None
    stack: ExitStack = field(default_factory=ExitStack)
    accepted: dict[str, int] = field(default_factory=dict)
    """Job id to the label that its result must have."""
    before: frozenset[str] = frozenset()
    """Jobs that were there already."""

    def start(self) -> None:
        """Serve the home."""
        self.serving = self.stack.enter_context(running(self.home))

    def kill(self) -> None:
        """The process ends here and now."""
        assert self.serving is not None
        os.kill(self.serving.pid, signal.SIGKILL)
        self.stack.close()
        self.serving = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """What breaks while jobs are submitted; it returns once all is well again."""

    name: str
    breaking: Callable[[Platform, float], None]


def kill_the_gateway(platform: Platform, for_s: float) -> None:
    """Three times, the gateway is killed and started again."""
    for _ in range(3):
        time.sleep(for_s / 3)
        platform.kill()
        platform.start()


def fill_the_disk(platform: Platform, for_s: float) -> None:
    """No file of the gateway's grows by another byte."""
    assert platform.serving is not None
    with full_disk(platform.serving.pid):
        time.sleep(for_s)


SCENARIOS = (
    Scenario("the gateway is killed with jobs waiting", kill_the_gateway),
    Scenario("no file can grow where jobs are kept", fill_the_disk),
)


def run(scenario: Scenario, home: Path, phase_s: float) -> Tally:
    """Submit jobs in three phases; raises AssertionError where one that was accepted is lost, or ends wrong."""
    tally = Tally(scenario.name, "real")
    easy()  # made once, and not while the first phase goes by
    with _served(home) as platform, ThreadPoolExecutor(SUBMITTERS) as pool:
        for phase in Phase:
            over = threading.Event()
            callers = [pool.submit(_submit_until, platform, tally, phase, over, n) for n in range(SUBMITTERS)]
            if phase is Phase.DURING:
                scenario.breaking(platform, phase_s)
            else:
                time.sleep(phase_s)
            over.set()
            for caller in callers:
                caller.result()
        _audit(platform, tally)
    tally.notes["jobs"] = len(platform.accepted)
    tally.check()
    assert not tally.count(End.CLEAR_ERROR, Phase.BEFORE) + tally.count(End.CLEAR_ERROR, Phase.AFTER)
    assert platform.accepted, "no job was accepted"
    return tally


@contextmanager
def _served(home: Path) -> Iterator[Platform]:
    platform = Platform(home)
    platform.start()
    platform.before = _kept(home)
    try:
        yield platform
    finally:
        platform.stack.close()


def _kept(home: Path) -> frozenset[str]:
    """The jobs of a home, as they lie in its database."""
    path = home / FILE
    store = SqliteJobs(path, FolderParts(path.parent))
    try:
        return frozenset(job.id for job in store.jobs(ANONYMOUS.tenant, 1 << 20))
    finally:
        store.close()


def _submit_until(platform: Platform, tally: Tally, phase: Phase, over: threading.Event, number: int) -> None:
    """Submit under an idempotency key, and again under the same one where no answer came, as a careful caller does."""
    images, labels = easy()
    serial = 0
    while not over.is_set():
        at = serial % len(labels)
        began = time.monotonic()
        end, tries = None, 0
        while end is None:
            end = _submit(platform, f"{phase}-{number}-{serial}", images[at].tolist(), int(labels[at]))
            tries += 1
            if end is None:
                assert time.monotonic() - began < DUE_S, "the platform did not come back"
                time.sleep(0.2)
        tally.ended(phase, end, time.monotonic() - began, TIMEOUT_S)
        serial += 1
        time.sleep(PAUSE_S * 5)


def _submit(platform: Platform, key: str, image: list[float], label: int) -> End | None:
    """None where nobody answered."""
    serving = platform.serving
    if serving is None:
        return None
    try:
        response = httpx.post(
            serving.url + JOBS, json={"inputs": [image]}, headers={"Idempotency-Key": key}, timeout=TIMEOUT_S
        )
    except httpx.HTTPError:
        return None
    if response.status_code == 202:
        platform.accepted[response.json()["id"]] = label
        return End.ANSWERED
    clear = response.status_code in {429, 503} and response.json()["error"]["code"]
    return End.CLEAR_ERROR if clear else End.LOST


def _audit(platform: Platform, tally: Tally) -> None:
    """Every job that was accepted has succeeded, and says what it should."""
    assert platform.serving is not None
    until = time.monotonic() + DUE_S
    with httpx.Client(base_url=platform.serving.url, timeout=TIMEOUT_S) as http:
        for job, label in platform.accepted.items():
            while (found := http.get(f"/v1/jobs/{job}").json()).get("state") in {"queued", "running"}:
                assert time.monotonic() < until, f"job {job} is still {found['state']}"
                time.sleep(0.2)
            if found.get("state") == "succeeded":
                assert found["result"]["outputs"]["label"] == [label], "a job's result is wrong"
            else:
                tally.jobs_lost += 1
    # One key is one job: what was submitted again is there once.
    there = _kept(platform.home) - platform.before
    tally.duplicated += max(0, len(there) - sum(tally.ends.values()))
