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
import psutil
import pytest

from cli.running import Running
from registry.artifacts import read_manifest
from registry.blobs import blob_name
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.stores.sqlite import SqliteStore

PREDICT = "/v1/tasks/digits/predict"
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
    """Environments are killed while requests run; each is answered by another one, or refused with a reason."""
    up = start(processes_only)
    body = {"inputs": sample.rows.repeat(4, axis=0).tolist(), "slo": BEST}
    with httpx.Client(base_url=up.url, timeout=60) as http, ThreadPoolExecutor(4) as pool:
        assert http.post(PREDICT, json=body).status_code == 200
        killed = 0
        for _ in range(8):
            answers = [pool.submit(http.post, PREDICT, json=body) for _ in range(4)]
            for process in environments(up.pid)[:1]:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            for answer in answers:
                response = answer.result(timeout=60)
                assert response.status_code in {200, 429, 503}, response.text
                if response.status_code == 200:
                    assert len(response.json()["outputs"]["label"]) == len(body["inputs"])
                else:
                    assert response.json()["error"]["message"]
        assert killed == 8
        assert http.post(PREDICT, json=body).status_code == 200


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
    chosen = plan["chosen"]
    assert f"{chosen['variant']}@{chosen['tier']}" in {
        f"{p['placement']['variant']}@{p['placement']['tier']}" for p in frontier["frontier"]
    }


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
