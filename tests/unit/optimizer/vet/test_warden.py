"""One process per model: however it ends, the warden goes on and says why."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.errors import ModelRefused, Reason
from optimizer.vet import warden
from optimizer.vet.caps import Caps, Extents
from optimizer.vet.frames import Verdict

CAPS = Caps(memory_mb=64, cpu_s=1, wall_s=1.5)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's"),
    # Since 3.12 Python warns of a fork beside threads: the test process has some, the warden none.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judge(monkeypatch: pytest.MonkeyPatch, behave: Callable[[bytes], bytes]) -> Verdict:
    """The verdict on a model whose examination does what `behave` does."""
    monkeypatch.setattr(warden, "examine", lambda model, caps, extents: behave(model))
    return warden.judge(b"model", CAPS, {})


def refuse(model: bytes) -> bytes:
    raise ModelRefused(Reason.NOT_DENSE, "'y' is no dense tensor")


def abort(model: bytes) -> bytes:
    faulthandler.disable()  # pytest's, which would write to the terminal
    os.abort()


def abort_for_memory(model: bytes) -> bytes:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    return abort(model)


def segfault(model: bytes) -> bytes:
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGSEGV)
    return model


def killed(model: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return model


def hoard(model: bytes) -> bytes:
    return bytes(256 << 20)


def spin(model: bytes) -> bytes:
    while True:
        pass


def hang(model: bytes) -> bytes:
    signal.pause()
    return model


def leave(model: bytes) -> bytes:
    os._exit(3)


def stumble(model: bytes) -> bytes:
    raise RecursionError("far too deep")


def write_much(model: bytes) -> bytes:
    Path("much").write_bytes(bytes(1 << 20))
    return model


@pytest.mark.parametrize(
    ("behave", "reason", "told"),
    [
        (refuse, Reason.NOT_DENSE, "no dense"),
        (abort, Reason.CRASHED, "SIGABRT"),
        (abort_for_memory, Reason.OUT_OF_MEMORY, "64 MB"),
        (segfault, Reason.CRASHED, "SIGSEGV"),
        (killed, Reason.OUT_OF_MEMORY, "64 MB"),
        (hoard, Reason.OUT_OF_MEMORY, "64 MB"),
        (spin, Reason.OUT_OF_TIME, "1 s of a processor"),
        (hang, Reason.OUT_OF_TIME, "or 1.5 s"),
        (leave, Reason.CRASHED, "status 3"),
        (stumble, Reason.CRASHED, "RecursionError: far too deep"),
        (write_much, Reason.CRASHED, "OSError"),
    ],
)
def test_however_it_ends(
    monkeypatch: pytest.MonkeyPatch, behave: Callable[[bytes], bytes], reason: Reason, told: str
) -> None:
    verdict = judge(monkeypatch, behave)

    assert verdict.reason is reason
    assert told in verdict.detail


def test_an_accepted_model_travels_back_only_when_it_was_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(monkeypatch, lambda model: model) == Verdict(None)
    assert judge(monkeypatch, lambda model: model + b"!") == Verdict(None, "", b"model!")


def test_what_it_may_do_is_limited_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (resource.RLIMIT_CPU, resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)

    told = judge(monkeypatch, lambda model: repr([resource.getrlimit(kind) for kind in kinds]).encode())

    assert told.rewritten == b"[(1, 2), (0, 0), (64, 64), (65536, 65536)]"


def test_standard_streams_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(model: bytes) -> bytes:
        os.write(1, b"an answer of my own")
        return os.read(0, 10) or model

    assert judge(monkeypatch, talk) == Verdict(None)


def test_extents_and_caps_reach_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(model: bytes, caps: Caps, extents: Extents) -> bytes:
        raise ModelRefused(Reason.NEVER_RUNS, f"{caps.memory_mb} {dict(extents)}")

    monkeypatch.setattr(warden, "examine", told)

    assert warden.judge(b"model", CAPS, {"x": (7,)}).detail == "64 {'x': (7,)}"


def test_the_test_process_itself_is_not_confined() -> None:
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] != CAPS.cpu_s
