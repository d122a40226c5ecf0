"""What breaks while a platform serves, and what callers notice: a flipped bit, a killed process, a new release."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from cli.running import Running
from registry.artifacts import read_manifest
from registry.blobs import blob_name
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.stores.sqlite import SqliteStore

PREDICT = "/v1/tasks/digits/predict"
MOST_KILLS = 100
"""Most environments to kill before one of them must have been at work."""
BEST = {"latency_ms": None, "objective": "accuracy"}


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something that another process does has happened."""
    due = time.monotonic() + seconds
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < due, f"did not happen in {seconds} s"
        waiting.wait(0.02)


def flip_a_bit(home: Path, digest: str) -> None:
    """Corrupt the largest blob of an artifact where it lies."""
    blobs = Files(home / "blobs")
    files = [home / "blobs" / blob_name(d) for d in read_manifest(blobs, digest).digests]
    largest = max(files, key=lambda f: f.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(data)


def test_a_corrupt_variant_is_quarantined_and_the_next_serves(
    home: Path, start: Callable[..., Running], sample: Any
) -> None:
    store = SqliteStore(home / "catalogue.db")
    catalogue = store.load()
    rows = sample.rows[:1].tolist()
    with httpx.Client(base_url=start(home).url, timeout=30) as http:
        best = http.post("/v1/tasks/digits/plan", json={"slo": BEST}).json()["chosen"]["variant"]
    flip_a_bit(home, catalogue.variants[best].artifact)
    with httpx.Client(base_url=start(home).url, timeout=30) as http:
        first = http.post(PREDICT, json={"inputs": rows, "slo": BEST})
        second = http.post(PREDICT, json={"inputs": rows, "slo": BEST})
        plan = http.post("/v1/tasks/digits/plan", json={"slo": BEST}).json()

    attempts = first.json()["decision"]["attempts"]
    assert first.status_code == 200
    assert first.json()["outputs"]["label"] == sample.labels[:1].tolist()
    assert attempts[0]["placement"].startswith(f"{best}@")
    assert "CorruptArtifact" in attempts[0]["error"]
    assert first.json()["decision"]["variant"] != best
    assert len(second.json()["decision"]["attempts"]) == 1
    assert second.json()["decision"]["variant"] != best
    assert any(p.startswith(f"{best}@") and "quarantine" in why for p, why in plan["why_not"].items())
    assert store.load() == catalogue
    store.close()


def test_a_request_outlives_its_environment(
    processes_only: Path,
    start: Callable[..., Running],
    environments: Callable[[int], list[psutil.Process]],
    sample: Any,
) -> None:
    """Environments are killed until a request has lost its own while it ran, and was answered all the same."""
    up = start(processes_only)
    body = {"inputs": sample.rows.tolist(), "slo": BEST}
    survived = 0
    with httpx.Client(base_url=up.url, timeout=60) as http, ThreadPoolExecutor(4) as pool:
        assert http.post(PREDICT, json=body).status_code == 200
        for _ in range(MOST_KILLS):
            answers = [pool.submit(http.post, PREDICT, json=body) for _ in range(4)]
            for process in environments(up.pid)[:1]:
                os.kill(process.pid, signal.SIGKILL)
            survived += sum(outlived(answer.result(timeout=60), sample) for answer in answers)
            if survived:
                break
        assert survived
        assert http.post(PREDICT, json=body).status_code == 200


def outlived(response: httpx.Response, sample: Any) -> bool:
    """Whether an answer came although its first environment was lost; refusals must say why, answers must be right."""
    if response.status_code != 200:
        assert response.status_code in {429, 503}, response.text
        assert response.json()["error"]["message"]
        return False
    assert np.mean(np.array(response.json()["outputs"]["label"]) == sample.labels) > 0.9
    return "EnvironmentLost" in response.json()["decision"]["attempts"][0]["error"]


def test_a_running_platform_follows_publishing_and_rollback(
    home: Path, edit: Callable[..., Catalogue], start: Callable[..., Running], cli: Callable[..., Any]
) -> None:
    with httpx.Client(base_url=start(home).url, timeout=30) as http:

        def version() -> int:
            return int(http.post("/v1/tasks/digits/plan", json={}).json()["catalogue_version"])

        def status(task: str) -> int:
            return http.get(f"/v1/tasks/{task}").status_code

        before = version()
        published = edit(home, lambda c: c.without_task("digits"))
        eventually(lambda: status("digits") == 404)
        rolled = cli("rollback", "--home", str(home))
        eventually(lambda: status("digits") == 200)

        assert published.version == before + 1
        assert rolled["rolled_back_to"] == before
        assert version() == before + 2


def test_the_command_line_talks_to_it(platform: Running, cli: Callable[..., Any], sample: Any) -> None:
    import json

    rows = json.dumps(sample.rows[:2].tolist())
    answer = cli("predict", "digits", rows, "--min-accuracy", "0.9", "--objective", "cost", "--url", platform.url)
    explained = cli("explain", answer["decision"]["decision_id"], "--url", platform.url)
    plan = cli("plan", "digits", "--latency-ms", "50", "--url", platform.url)
    frontier = cli("frontier", "digits", "--url", platform.url)

    assert answer["outputs"]["label"] == sample.labels[:2].tolist()
    assert explained["served"] == answer["decision"]
    assert explained["chosen"]["placement"] == answer["decision"]["placement"]
    assert plan["feasible"]
    assert plan["chosen"]["placement"] in {p["placement"] for p in frontier["frontier"]}


@pytest.fixture
def cli() -> Callable[..., Any]:
    """Run a command with --json and read what it printed."""
    import json

    from click.testing import CliRunner

    from cli.main import main

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run
