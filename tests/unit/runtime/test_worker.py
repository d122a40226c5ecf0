"""One environment's worker: events to replies, residency under pressure, snapshots."""

from __future__ import annotations

import json
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.artifacts import read_manifest
from registry.blobs import blob_name
from registry.blobs.files import Files
from runtime.codecs import wire
from runtime.errors import (
    CorruptArtifact,
    ExecutionFailed,
    InvalidBody,
    InvalidTensor,
    NoRoom,
    ReplyTooLarge,
    Unreadable,
)
from runtime.worker import Key, Worker, parse_preload

MakeLinear = Callable[..., str]
X = np.ones((2, 64), np.float32)


@pytest.fixture
def worker(blobs: Files) -> Worker:
    """A worker of one thread in an environment of a Lambda vCPU."""
    return Worker(blobs, memory_mb=1769, threads=1)


def event(kind: str, artifact: str = "", **changes: Any) -> dict[str, Any]:
    """An event as the gateway sends it."""
    base = {
        "kind": kind,
        "id": "1",
        "task": "t",
        "variant": "t/v",
        "artifact": artifact,
        "threads": 1,
        "prepack": False,
    }
    return base | changes


def infer(artifact: str, inputs: dict[str, NDArray[Any]], **changes: Any) -> dict[str, Any]:
    """An infer event."""
    return event("infer", artifact, inputs=wire.encode(inputs), **changes)


def test_the_first_inference_loads_and_the_second_does_not(
    worker: Worker, linear: str, weights: NDArray[np.float32]
) -> None:
    first, second = (worker.handle(infer(linear, {"x": X})) for _ in range(2))

    assert (first["loaded"], second["loaded"]) == (True, False)
    assert first["load_ms"] > 0 == second["load_ms"]
    for reply in (first, second):
        np.testing.assert_allclose(wire.decode(reply["outputs"])["y"], X @ weights, rtol=1e-4)
        assert reply["resident"] == ["t/v"]
        assert reply["run_ms"] > 0
        assert reply["memory_mb"] > 1
        assert reply["environment"] == worker.environment


def test_replies_are_json(worker: Worker, linear: str) -> None:
    reply = worker.handle(infer(linear, {"x": X}))

    assert json.loads(json.dumps(reply)) == reply
    assert set(reply) == {"outputs", "loaded", "load_ms", "run_ms", "resident", "memory_mb", "environment"}


def test_warm_status_and_unload(worker: Worker, linear: str) -> None:
    assert worker.handle(event("status"))["resident"] == []
    assert worker.handle(event("warm", linear))["loaded"] is True
    assert worker.handle(event("warm", linear))["loaded"] is False
    assert worker.handle(event("status"))["resident"] == ["t/v"]
    assert worker.handle(infer(linear, {"x": X}))["loaded"] is False
    assert worker.handle(event("unload"))["resident"] == []
    assert worker.handle(infer(linear, {"x": X}))["loaded"] is True


def test_an_event_keeps_its_environment_busy_for_as_long_as_it_says(
    worker: Worker, linear: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("runtime.worker.time.sleep", slept.append)
    worker.handle(event("warm", linear, hold_ms=1000))
    worker.handle(event("unload", hold_ms=1000))
    worker.handle(event("unload"))
    assert [0.0 < s <= 1.0 for s in slept] == [True, True, False]


def test_other_settings_are_another_load(worker: Worker, linear: str) -> None:
    for changes in ({}, {"threads": 2}, {"prepack": True}, {"variant": "t/w"}):
        assert worker.handle(event("warm", linear, **changes))["loaded"] is True

    assert worker.handle(event("status"))["resident"] == ["t/v", "t/w"]
    assert worker.handle(event("unload"))["resident"] == ["t/w"]


def test_several_variants_share_one_environment(worker: Worker, make_linear: MakeLinear) -> None:
    artifacts = {f"t/v{i}": make_linear(np.full((64, 16), i, np.float32)) for i in range(3)}

    for _ in range(2):
        for i, (variant, artifact) in enumerate(artifacts.items()):
            outputs = wire.decode(worker.handle(infer(artifact, {"x": X}, variant=variant))["outputs"])
            np.testing.assert_array_equal(outputs["y"], np.full((2, 16), 64.0 * i))

    assert worker.handle(event("status"))["resident"] == sorted(artifacts)


def test_prepacked_variants_are_evicted_when_memory_is_short(blobs: Files, make_linear: MakeLinear) -> None:
    small = Worker(blobs, memory_mb=96, threads=1)  # 48 MB for variants
    artifacts = [make_linear(np.full((1024, 5120), i, np.float32)) for i in range(3)]  # 20 MB each
    for i, artifact in enumerate(artifacts):
        reply = small.handle(event("warm", artifact, variant=f"t/v{i}", prepack=True))

    assert len(reply["resident"]) == 2
    assert "t/v2" in reply["resident"]


def test_what_can_never_fit_is_refused(blobs: Files, make_linear: MakeLinear) -> None:
    tiny = Worker(blobs, memory_mb=16, threads=1)

    with pytest.raises(NoRoom):
        tiny.handle(event("warm", make_linear(np.ones((1024, 5120), np.float32)), prepack=True))


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("not an object", InvalidBody),
        ({}, InvalidBody),
        ({"kind": "dance"}, InvalidBody),
        ({"kind": ["infer"]}, InvalidBody),
        (event("infer", variant=3), InvalidBody),
        (event("infer", artifact=None), InvalidBody),
        (event("infer", threads=0), InvalidBody),
        (event("infer", threads=True), InvalidBody),
        (event("infer", threads=1e9), InvalidBody),
        (event("infer", prepack=1), InvalidBody),
        (event("infer", inputs=3), InvalidBody),
        (event("infer", inputs=[{"name": "x", "datatype": "FP32", "shape": [-1], "data": ""}]), InvalidTensor),
        (event("unload", variant=None), InvalidBody),
        (event("unload", hold_ms=-1), InvalidBody),
        (event("warm", hold_ms=1001), InvalidBody),
        (event("warm", hold_ms=True), InvalidBody),
        (event("warm", "blake3:" + "0" * 64), CorruptArtifact),
        (event("warm", "../../etc/passwd"), CorruptArtifact),
        (event("warm", "blake3:" + "0" * 64, prepack=True), CorruptArtifact),
    ],
)
def test_bad_events_are_refused_and_change_nothing(worker: Worker, broken: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        worker.handle(broken)

    assert worker.handle(event("status"))["resident"] == []


def test_damage_is_told_apart_from_failure(worker: Worker, blobs: Files, linear: str, gather: str) -> None:
    file = blobs.root / blob_name(read_manifest(blobs, linear).tensors[0].digest)
    file.chmod(0o644)
    file.write_bytes(b"\0" * file.stat().st_size)

    with pytest.raises(CorruptArtifact):
        worker.handle(infer(linear, {"x": X}))
    with pytest.raises(ExecutionFailed):
        worker.handle(infer(gather, {"i": np.array([77])}))
    assert wire.decode(worker.handle(infer(gather, {"i": np.array([0])}))["outputs"])["y"].tolist() == [[1, 2]]


@pytest.mark.parametrize("prepack", [True, False])
def test_an_outage_of_the_storage_is_no_corruption(worker: Worker, blobs: Files, linear: str, prepack: bool) -> None:
    (blobs.root / blob_name(linear)).unlink()
    (blobs.root / blob_name(linear)).mkdir()
    with pytest.raises(Unreadable):
        worker.handle(event("warm", linear, prepack=prepack))


def test_a_reply_that_lambda_would_refuse_is_an_error_of_ours(blobs: Files, gather: str) -> None:
    worker = Worker(blobs, memory_mb=1769, threads=1, max_reply_bytes=2000)

    with pytest.raises(ReplyTooLarge, match="the outputs are 8000 bytes"):
        worker.handle(infer(gather, {"i": np.zeros(1000, np.int64)}))
    assert worker.handle(infer(gather, {"i": np.zeros(10, np.int64)}))["outputs"]


def test_preload_pins_and_reports_what_fails(
    worker: Worker, linear: str, gather: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = "blake3:" + "0" * 64
    worker.preload(parse_preload(f"{linear}=t/v=1=0, {missing}=t/gone=1=0,{gather}=t/g=2=1"))

    assert worker.handle(event("status"))["resident"] == ["t/g", "t/v"]
    assert worker.handle(infer(linear, {"x": X}))["loaded"] is False
    assert "preload of t/gone failed: CorruptArtifact" in capsys.readouterr().err


def test_preload_is_read_or_refused() -> None:
    assert parse_preload("") == []
    assert parse_preload("blake3:a=t/v=2=1") == [Key("t/v", "blake3:a", 2, True)]
    for text in ("x", "a=b=c=1", "a=b=1=yes", "a=b=1=1=1"):
        with pytest.raises(InvalidBody, match="artifact=variant=threads=prepack"):
            parse_preload(text)


def test_a_snapshot_carries_no_threads_and_a_restore_brings_them_back(worker: Worker, linear: str, gather: str) -> None:
    worker.preload([Key("t/v", linear, 1, False), Key("t/g", gather, 2, False)])
    before = worker.environment

    worker.before_snapshot()
    assert worker.handle(event("status"))["resident"] == ["t/v"]

    worker.after_restore()
    assert worker.environment != before
    assert worker.handle(event("status"))["resident"] == ["t/g", "t/v"]


def test_two_restores_of_one_snapshot_draw_different_numbers(worker: Worker) -> None:
    drawn = set()
    for _ in range(2):
        random.seed(1)
        np.random.seed(1)
        worker.after_restore()
        drawn |= {random.random(), np.random.random()}

    assert len(drawn) == 4


class Recorded(Files):
    """Files that note when they are told of a snapshot."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.told: list[str] = []

    def rehearse(self) -> None:
        self.told.append("rehearse")

    def renew(self) -> None:
        self.told.append("renew")

    def get(self, digest: str) -> bytes:
        self.told.append("get")
        return super().get(digest)


def test_blobs_are_rehearsed_before_the_snapshot_and_renewed_before_they_are_read_after_it(
    blobs: Files, linear: str
) -> None:
    recorded = Recorded(blobs.root)
    worker = Worker(recorded, memory_mb=1769, threads=2)
    worker.preload([Key("t/v", linear, 2, False)])
    recorded.told.clear()

    worker.before_snapshot()
    assert recorded.told == ["rehearse"]

    worker.after_restore()
    assert recorded.told[1:3] == ["renew", "get"]


def test_openssls_generator_is_stirred_after_a_restore(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    stirred: list[bytes] = []
    monkeypatch.setattr(ssl, "RAND_add", lambda data, entropy: stirred.append(data))

    worker.after_restore()
    worker.after_restore()

    assert len(set(stirred)) == 2
