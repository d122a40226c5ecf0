"""Starting a sandbox: what it is given, what it is kept from, and how it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.errors import ModelRefused, OptimizerError, Reason, SandboxFailed
from optimizer.vet import Caps, sandbox, vet, vet_all
from registry.errors import InvalidValue

CAPS = Caps(memory_mb=256, cpu_s=5, wall_s=10.0)


def program(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Run these lines in the sandbox instead of its warden."""
    start = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from optimizer.vet import frames, limits"
    monkeypatch.setattr(sandbox, "_PROGRAM", "\n".join((start, *lines)))


READY = "from optimizer.vet.frames import *; import os, signal; write_verdict(1, Verdict(None, 'ready'))"


def test_a_sound_model_comes_back_byte_for_byte(network: Callable[[int], bytes]) -> None:
    model = network(16)

    assert vet(model, caps=CAPS) == model


def test_a_refusal_names_problem_and_fix_and_is_a_fault_of_the_field(network: Callable[[int], bytes]) -> None:
    with pytest.raises(ModelRefused) as refused:
        vet(b"\xff" + network(16), caps=CAPS)

    assert refused.value.reason is Reason.NOT_ONNX
    assert isinstance(refused.value, OptimizerError)
    assert isinstance(refused.value, InvalidValue)
    assert str(refused.value) == f"model: {refused.value.detail}; {refused.value.fix}"


def test_several_models_share_one_sandbox(network: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Caps] = []
    start = sandbox._sandbox
    monkeypatch.setattr(sandbox, "_sandbox", lambda caps, extents: started.append(caps) or start(caps, extents))

    verdicts = vet_all([network(16), b"", network(8)], caps=CAPS)

    assert [isinstance(verdict, bytes) for verdict in verdicts] == [True, False, True]
    assert len(started) == 1


def test_what_is_too_large_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "sys.exit('started')")

    (refused,) = vet_all([bytes(100)], caps=Caps(model_bytes=99))

    assert isinstance(refused, ModelRefused)
    assert refused.reason is Reason.TOO_LARGE


def test_no_models_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "sys.exit('started')")

    assert vet_all([]) == []


def test_a_sandbox_that_does_not_start_is_nobodys_model(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "raise ImportError('no library here')")

    with pytest.raises(SandboxFailed, match="no library here"):
        vet(b"model", caps=CAPS)


def test_a_sandbox_that_never_says_a_word_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "START_S", 0.5)
    program(monkeypatch, "import signal; signal.pause()")

    with pytest.raises(SandboxFailed, match="it said nothing"):
        vet(b"model", caps=CAPS)


def test_models_after_one_that_ends_the_sandbox_get_another(monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        monkeypatch,
        READY,
        "while True:",
        "    model = read_model(0)",
        "    if model == b'bomb': os.kill(0, signal.SIGKILL)",
        "    write_verdict(1, Verdict(None))",
    )

    first, bomb, last = vet_all([b"first", b"bomb", b"last"], caps=CAPS)

    assert (first, last) == (b"first", b"last")
    assert isinstance(bomb, ModelRefused)
    assert bomb.reason is Reason.CRASHED


def test_a_sandbox_that_stops_answering_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "GRACE_S", 0.2)
    program(monkeypatch, READY, "signal.pause()")

    (stuck,) = vet_all([b"model"], caps=Caps(wall_s=0.3))

    assert isinstance(stuck, ModelRefused)
    assert stuck.reason is Reason.CRASHED


def test_a_reply_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, READY, "read_model(0)", "os.write(1, bytes(4) + b'\\xff' * 8)", "signal.pause()")

    (boastful,) = vet_all([b"model"], caps=CAPS)

    assert isinstance(boastful, ModelRefused)


def test_it_knows_nothing_of_its_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("PYTHONSTARTUP", "evil.py")
    program(
        monkeypatch,
        READY,
        "read_model(0)",
        "told = [dict(os.environ), os.getcwd(), os.listdir(), os.getsid(0) == os.getpid(), sys.flags.isolated]",
        "told.append(sorted(os.listdir('/proc/self/fd'))[:3] if sys.platform == 'linux' else [])",
        "write_verdict(1, Verdict(None, '', json.dumps(told).encode()))",
    )

    environment, folder, listing, own_session, isolated, _ = json.loads(vet(b"model", caps=CAPS))

    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert not any(name.startswith(("AWS", "PYTHON")) for name in environment)
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert environment["HOME"] == environment["TMPDIR"] == folder
    assert (listing, own_session, isolated) == ([], True, 1)
    assert not os.path.exists(folder)


def test_every_reason_has_a_fix() -> None:
    assert all(ModelRefused(reason, "it is odd").fix for reason in Reason)
