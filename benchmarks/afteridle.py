"""First requests after idle on a running `modelless up`, at three depths of cold; never with the ordinary way slowed.

A home of five variants of the digits is registered and served, once on Lambda's on-demand start mode and once on
SnapStart's, with nothing always on. Each request is the first after idle:

- `process`: no environment lives; the last one expired by the tier's own idle timeout (which is short here).
- `page`: the same, and every blob was dropped from the page cache (posix_fadvise). `dropped` says how far that worked.
- `session`: an environment is warm, and the preferred variant is not resident in it: it was started a moment before by
  a request for the cheapest. A snapshot holds every variant of this home, so there is no such depth with SnapStart.

Nothing is kept warm ahead (`--warm-budget 0`): what is seen is what a request meets that nobody foresaw.

`modelless` asks under the SLO, and the platform chooses. `naive` is a cold start of the preferred variant alone on the
on-demand tier (at `session` only its load): the request is pinned to its accuracy, which no other variant has. The
preferred variant is the most accurate one, a forest that is also the dearest to load; the SLO is a third of what its
profile says a cold start of it takes there. Latency is the client's, over HTTP.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import math
import mmap
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from benchmarks.harness import Row, run
from benchmarks.http_client import HttpClient
from cli.running import running
from examples import export
from examples.digits import data
from examples.digits.build import TASK
from examples.digits.variants import candidates
from examples.training import Candidate, train
from gateway.local import BLOBS, open_store
from modelless.registering import registered
from optimizer.evaluation import Evaluation
from optimizer.registration import Model, Registration
from registry.blobs import blob_name
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.model import LEVELS, StartMode, Variant
from registry.prices import local_tiers
from registry.store import update

PREFERRED = Candidate("forest-shifted", "forest", RandomForestClassifier(200, random_state=0), augmented=True)
"""The example's larger forest, taught with images moved by one pixel too: four times the nodes, and fewer errors."""

OTHERS = ("logistic", "mlp-32", "boosted-30", "forest-16")

SLO_SHARE = 1 / 3
"""Of the preferred variant's cold start."""

IDLE_S = 0.2
"""The tiers' idle timeout, so that nobody waits long for idleness."""

WAIT_S = 30.0
"""Most seconds until an environment has expired."""

MEMORY_MB = 1769
"""One vCPU."""

CHEAPEST = {"objective": "cost", "latency_ms": None, "min_accuracy": None}
"""Hints that warm an environment with another variant than the preferred."""

_COUNT = re.compile(rb"^modelless_environments\{[^}]*\} ([0-9.]+)", re.MULTILINE)


UNPLANNED = ("--warm-budget", "0")


@dataclass(frozen=True, slots=True)
class First:
    """One first request after idle."""

    ms: float
    variant: str
    tier: str
    accuracy: float
    dropped: float
    """Share of the blobs' pages that were out of the page cache."""


@dataclass(frozen=True, slots=True)
class Case:
    """A line of the table."""

    starts: StartMode
    depth: str
    policy: str


DEPTHS = {StartMode.ONDEMAND: ("process", "session", "page"), StartMode.SNAPSTART: ("process", "page")}

CASES = tuple(
    Case(starts, depth, policy)
    for starts, depths in DEPTHS.items()
    for depth in depths
    for policy in ("modelless", "naive")
    if policy == "modelless" or starts is StartMode.ONDEMAND
)


def rows(quick: bool) -> list[Row]:
    """One row per case."""
    firsts: dict[Case, list[First]] = {case: [] for case in CASES}
    models = _models()
    with tempfile.TemporaryDirectory(prefix="afteridle-") as folder:
        slo_ms = 0.0
        for starts in DEPTHS:
            home = Path(folder, starts)
            print(f"  registering on {starts}", file=sys.stderr)
            catalogue = _register(home, starts, models)
            preferred = catalogue.variants[f"{TASK.name}/{PREFERRED.name}"]
            slo_ms = slo_ms or SLO_SHARE * _cold_ms(catalogue, preferred)
            with Served.open(home, preferred, slo_ms) as served:
                _measure(served, [case for case in CASES if case.starts is starts], firsts, 5 if quick else 20)
    return [_row(case, firsts[case], preferred, slo_ms) for case in CASES]


def _measure(served: Served, cases: Sequence[Case], firsts: dict[Case, list[First]], repeats: int) -> None:
    """Every case in turn, the order reversed on every other round."""
    for turn in range(repeats):
        for case in cases if turn % 2 == 0 else cases[::-1]:
            dropped = served.go_cold(case.depth)
            firsts[case].append(served.first(case.policy, dropped))
        print(f"  {turn + 1} of {repeats}", file=sys.stderr)


def _row(case: Case, firsts: Sequence[First], preferred: Variant, slo_ms: float) -> Row:
    ms = np.array([first.ms for first in firsts])
    return {
        "starts": case.starts.value,
        "depth": case.depth,
        "policy": case.policy,
        "slo_ms": slo_ms,
        "within_slo": float(np.mean(ms <= slo_ms)),
        "p50_ms": float(np.quantile(ms, 0.5)),
        "p99_ms": float(np.quantile(ms, 0.99)),
        "substitute_share": float(np.mean([first.variant != preferred.id for first in firsts])),
        # Every loss, then their mean: of equal accuracies it is zero, to the last digit.
        "accuracy_lost": float(np.mean([preferred.accuracy.value - first.accuracy for first in firsts])),
        "answered_by": _counted(first.variant.partition("/")[2] for first in firsts),
        "tier": _counted(first.tier for first in firsts),
        "dropped": float(np.mean([first.dropped for first in firsts])),
        "requests": len(firsts),
    }


def _counted(names: Iterable[str]) -> str:
    found, counts = np.unique(list(names), return_counts=True)
    return ", ".join(f"{name} {count}" for name, count in sorted(zip(found, counts, strict=True), key=lambda e: -e[1]))


# ---------------------------------------------------------------------- the home


def _models() -> tuple[Model, ...]:
    """The variants, trained."""
    digits = data.load()
    plain = (digits.train, digits.train_labels)
    chosen = [*(candidate for candidate in candidates() if candidate.name in OTHERS), PREFERRED]
    to_onnx = partial(export.classifier, features=64, classes=10, input_name="image")
    made = train(chosen, plain, data.shifted(*plain), to_onnx)
    return tuple(Model(variant.name, variant.model, variant.recipe) for variant in made)


def _register(home: Path, starts: StartMode, models: tuple[Model, ...]) -> Catalogue:
    """Register the variants on one tier of this start mode, whose environments soon expire."""
    (tier,) = (t for t in local_tiers() if t.start_mode is starts and t.memory_mb == MEMORY_MB)
    digits = data.load()
    held_out = Evaluation({"image": digits.held_out}, "label", digits.held_out_labels)
    asyncio.run(registered(Registration(TASK, held_out, {}, models, (tier,)), home, quick=True))
    store = open_store(home)
    try:
        return update(store, _impatient, note="environments expire at once")
    finally:
        store.close()


def _impatient(catalogue: Catalogue) -> Catalogue:
    return catalogue.with_tiers(*(replace(tier, idle_timeout_s=IDLE_S) for tier in catalogue.tiers.values()))


def _cold_ms(catalogue: Catalogue, preferred: Variant) -> float:
    """The median of a cold start of the preferred variant, as measured when it was registered."""
    (profile,) = (p for p in catalogue.profiles.values() if catalogue.placements[p.placement].variant == preferred.id)
    median = LEVELS.index(0.5)
    return profile.init.ms[median] + profile.load.ms[median] + profile.service[0].latency.ms[median]


# ---------------------------------------------------------------------- requests


class Served:
    """A running platform over a home, and how its environments are brought to each depth of cold."""

    def __init__(self, home: Path, client: HttpClient, preferred: Variant, slo_ms: float) -> None:
        self._blobs = Files(home / BLOBS)
        self._client = client
        self._row = data.sample(1)[0].tolist()
        self._hints: Mapping[str, Mapping[str, Any]] = {
            "modelless": {"latency_ms": slo_ms},
            # Just below: the bound must not be lost to rounding.
            "naive": {"latency_ms": None, "min_accuracy": math.floor(preferred.accuracy.value * 1e6) / 1e6},
        }

    @classmethod
    @contextmanager
    def open(cls, home: Path, preferred: Variant, slo_ms: float) -> Iterator[Served]:
        """`modelless up` over the home, for as long as the block lasts."""
        with ExitStack() as stack:
            client = stack.enter_context(HttpClient(stack.enter_context(running(home, *UNPLANNED)).url))
            yield cls(home, client, preferred, slo_ms)

    def go_cold(self, depth: str) -> float:
        """Bring the platform to a depth; the share of the blobs' pages that is out of the cache."""
        self._wait_for_idle()
        if depth == "session":
            self._predict(CHEAPEST)
        return self._drop() if depth == "page" else 0.0

    def first(self, policy: str, dropped: float) -> First:
        """Ask once."""
        began = time.perf_counter()
        decision = self._predict(self._hints[policy])
        took = (time.perf_counter() - began) * 1e3
        return First(took, decision["variant"], decision["tier"], decision["accuracy"], dropped)

    def _predict(self, hints: Mapping[str, Any]) -> dict[str, Any]:
        body = {"inputs": self._row, "slo": dict(hints)}
        answer = self._client.send(self._client.request(f"/v1/tasks/{TASK.name}/predict", json.dumps(body).encode()))
        decision: dict[str, Any] = json.loads(answer)["decision"]
        return decision

    def _wait_for_idle(self) -> None:
        until = time.monotonic() + WAIT_S
        while sum(map(float, _COUNT.findall(self._client.send(b"GET /metrics HTTP/1.1\r\nHost: benchmark\r\n\r\n")))):
            if time.monotonic() > until:
                raise RuntimeError("an environment does not expire")
            time.sleep(0.02)

    def _drop(self) -> float:
        """Drop the blobs from the page cache; the share of their pages that has gone."""
        gone = total = 0
        for digest in self._blobs.digests():
            pages, out = _dropped(self._blobs.root / blob_name(digest))
            gone, total = gone + out, total + pages
        return gone / total


def _dropped(file: Path) -> tuple[int, int]:
    """Drop a file from the page cache; its pages, and how many of them are out of it."""
    with file.open("rb") as opened:
        # A page that is not on disk yet would stay.
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        # Writable to have an address; private, so that nothing can be written.
        with mmap.mmap(opened.fileno(), 0, flags=mmap.MAP_PRIVATE) as mapped:
            pages = math.ceil(len(mapped) / mmap.PAGESIZE)
            present = (ctypes.c_ubyte * pages)()
            start = ctypes.c_char.from_buffer(mapped)
            failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(start)), len(mapped), present)
            del start
    if failed:
        raise OSError("mincore failed")
    return pages, pages - sum(page & 1 for page in present)


if __name__ == "__main__":
    raise SystemExit(run("afteridle", rows, details=("tier", "dropped")))
