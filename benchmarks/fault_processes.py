"""Scenarios on the real platform: `modelless up` as a process, its environments as processes, requests over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import psutil
from sklearn.linear_model import LogisticRegression

from benchmarks.fault_tally import End, Phase, Tally
from cli.running import Running, running
from examples import export
from examples.digits import data
from examples.digits.build import TASK
from examples.digits.data import Labels, Rows
from examples.digits.variants import candidates
from examples.training import train
from gateway.local import BLOBS, open_store
from modelless.registering import registered
from optimizer.evaluation import Evaluation
from optimizer.registration import Model, Registration
from registry.artifacts import read_manifest
from registry.blobs import blob_name
from registry.blobs.files import Files
from registry.model import StartMode
from registry.prices import local_tiers

VARIANTS = ("logistic", "mlp-32", "forest-16")
SIZES_MB = (1769, 3538)
CALLERS = 4
PAUSE_S = 0.02
"""Between two requests of a caller."""

TIMEOUT_S = 30.0
"""The tiers' own, which is the deadline of whoever sets none."""

EASY, SURE = 32, 0.999
"""So many images that a plain model is so sure of."""

REFUSALS = {429, 503, 504}
"""What a request may be refused with that nothing is wrong with."""

ENVIRONMENT_PROGRAMS = {"launch.py", "snapshot.py"}

HINTS: tuple[dict[str, Any], ...] = (
    {},
    {"latency_ms": None, "objective": "accuracy"},
    {"latency_ms": 4000, "on_infeasible": "strict"},
)


@dataclass(slots=True)
class Site:
    """A home that is served, and what may be broken about it."""

    home: Path
    process: Running
    random: Random
    images: Rows
    labels: Labels
    """Held-out images, and what they show."""

    stop: threading.Event = field(default_factory=threading.Event)
    """Ends what goes on while something is broken."""

    def environments(self) -> list[psutil.Process]:
        """The processes that run variants."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if _program(child) in ENVIRONMENT_PROGRAMS]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What breaks in the second of three phases, in a thread of its own until the site's `stop` is set."""

    name: str
    breaking: Callable[[Site], None]
    least_during: float


def kill_environments(site: Site) -> None:
    """Twice a second, one environment is killed: starting one takes about as long."""
    while not site.stop.wait(0.5):
        alive = site.environments()
        if alive:
            _signal(site.random.choice(alive), signal.SIGKILL)


def freeze_environments(site: Site) -> None:
    """Every environment stands still for a second, again and again."""
    while not site.stop.is_set():
        frozen = site.environments()
        for process in frozen:
            _signal(process, signal.SIGSTOP)
        site.stop.wait(1.0)
        for process in frozen:
            _signal(process, signal.SIGCONT)
        site.stop.wait(0.5)


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file that the process writes grows by another byte, for as long as the block lasts."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def fill_the_disk(site: Site) -> None:
    """No file of the gateway's grows by another byte."""
    with full_disk(site.process.pid):
        site.stop.wait()


def corrupt_a_blob(site: Site) -> None:
    """A bit of the most accurate variant flips where it lies, and every environment is killed: each must read it."""
    store = open_store(site.home)
    catalogue = store.load()
    store.close()
    best = max(catalogue.variants.values(), key=lambda v: v.accuracy.value)
    blobs = Files(site.home / BLOBS)
    files = [blobs.root / blob_name(digest) for digest in read_manifest(blobs, best.artifact).digests]
    largest = max(files, key=lambda file: file.stat().st_size)
    whole = largest.read_bytes()
    largest.chmod(0o644)
    largest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for process in site.environments():
        _signal(process, signal.SIGKILL)
    site.stop.wait()
    largest.write_bytes(whole)


SCENARIOS = (
    Scenario("environments are killed", kill_environments, 0.9),
    Scenario("environments stand still", freeze_environments, 0.5),
    Scenario("no file can grow", fill_the_disk, 0.99),
    Scenario("a blob on disk is corrupt", corrupt_a_blob, 0.9),
)


@contextmanager
def registered_home() -> Iterator[Path]:
    """A home of three variants of the digits on two sizes of on-demand processes; made once for all scenarios."""
    digits = data.load()
    plain = (digits.train, digits.train_labels)
    chosen = [candidate for candidate in candidates() if candidate.name in VARIANTS]
    made = train(
        chosen, plain, data.shifted(*plain), partial(export.classifier, features=64, classes=10, input_name="image")
    )
    tiers = tuple(t for t in local_tiers() if t.start_mode is StartMode.ONDEMAND and t.memory_mb in SIZES_MB)
    held_out = Evaluation({"image": digits.held_out}, "label", digits.held_out_labels)
    models = tuple(Model(variant.name, variant.model, variant.recipe) for variant in made)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        home = Path(folder, "home")
        asyncio.run(registered(Registration(TASK, held_out, {}, models, tiers), home, quick=True))
        yield home


@cache
def easy() -> tuple[Rows, Labels]:
    """Held-out images that a plain model gets right with a wide margin, so that whichever variant answers is right."""
    digits = data.load()
    model = LogisticRegression(max_iter=1000).fit(digits.train / 16, digits.train_labels)
    sure = np.flatnonzero(
        (model.predict_proba(digits.held_out / 16).max(axis=1) > SURE)
        & (model.predict(digits.held_out / 16) == digits.held_out_labels)
    )[:EASY]
    return digits.held_out[sure], digits.held_out_labels[sure]


def run(scenario: Scenario, home: Path, phase_s: float, seed: int) -> Tally:
    """Ask over HTTP in three phases; raises AssertionError where an invariant breaks."""
    tally = Tally(scenario.name, "real")
    with running(home) as process, ThreadPoolExecutor(CALLERS + 1) as pool:
        site = Site(home, process, Random(seed), *easy())
        for phase in Phase:
            broken = pool.submit(scenario.breaking, site) if phase is Phase.DURING else None
            until = time.monotonic() + phase_s
            callers = [pool.submit(_ask_until, tally, phase, site, until, seed + n) for n in range(CALLERS)]
            for caller in callers:
                caller.result()
            if broken is not None:
                site.stop.set()
                broken.result()
                _recover(site)
    tally.check()
    for phase, least in ((Phase.BEFORE, 1.0), (Phase.DURING, scenario.least_during), (Phase.AFTER, 1.0)):
        answered, refused = (tally.count(end, phase) for end in (End.ANSWERED, End.CLEAR_ERROR))
        share = answered / (answered + refused)
        assert share >= least, f"{scenario.name}: {share:.1%} of the requests were answered {phase} the fault"
    return tally


def _ask_until(tally: Tally, phase: Phase, site: Site, until: float, seed: int) -> None:
    random = Random(f"{seed} {phase}")
    images, labels = site.images, site.labels
    with httpx.Client(base_url=site.process.url, timeout=TIMEOUT_S + 5.0) as http:
        while time.monotonic() < until:
            hints, at = random.choice(HINTS), random.randrange(len(images))
            strict = hints.get("on_infeasible") == "strict"
            began = time.monotonic()
            end = _ask(http, images[at].tolist(), int(labels[at]), hints)
            took_s = time.monotonic() - began
            tally.ended(phase, end, took_s, hints["latency_ms"] / 1000 if strict else TIMEOUT_S)
            time.sleep(PAUSE_S)


def _ask(http: httpx.Client, image: list[float], label: int, hints: dict[str, Any]) -> End:
    try:
        response = http.post(f"/v1/tasks/{TASK.name}/predict", json={"inputs": [image], "slo": hints})
    except httpx.HTTPError:
        return End.LOST
    if response.status_code == 200:
        assert response.json()["outputs"]["label"] == [label], "an answer is wrong"
        return End.ANSWERED
    try:
        error = response.json()["error"]
    except (json.JSONDecodeError, KeyError):
        return End.LOST
    return (
        End.CLEAR_ERROR if response.status_code in {429, 503, 504} and error["code"] and error["message"] else End.LOST
    )


def _recover(site: Site) -> None:
    """Wait until a request is answered again: whoever was told to come back has."""
    until = time.monotonic() + 30.0
    with httpx.Client(base_url=site.process.url, timeout=TIMEOUT_S + 5.0) as http:
        while _ask(http, site.images[0].tolist(), int(site.labels[0]), {}) is not End.ANSWERED:
            assert time.monotonic() < until, "the platform did not recover within 30 s"
            time.sleep(0.1)
    time.sleep(1.5)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        os.kill(process.pid, number)


def _program(process: psutil.Process) -> str:
    try:
        names = [Path(argument).name for argument in process.cmdline()]
    except psutil.NoSuchProcess:
        return ""
    return next((name for name in names if name in ENVIRONMENT_PROGRAMS), "")
