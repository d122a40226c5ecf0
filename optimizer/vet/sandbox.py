"""Starts sandboxes and hands them models; never parses a model in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import IO

from optimizer.errors import ModelRefused, Reason, SandboxFailed
from optimizer.vet import frames
from optimizer.vet.caps import CAPS, Caps, Extents
from optimizer.vet.frames import Verdict

START_S = 60.0
"""For an interpreter to start and load its libraries: a second, and a minute on a busy machine."""

GRACE_S = 15.0
"""Beyond a model's own time, for its bytes to travel."""

_EXTRA_BYTES = 1 << 21
"""By which a rewritten model may be larger than what was sent; the warden allows less."""

# With -I the interpreter ignores PYTHON* variables and the working directory; packages are found where we found them.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from optimizer.vet.warden import main; main()"


def vet(model: bytes, *, caps: Caps = CAPS, extents: Extents | None = None) -> bytes:
    """The model as it may be registered: its own bytes, or a rewriting with equal results.

    `extents`, by input all axes but the first, are those that it will be used with; a model with free axes is tried on
    them first. Raises ModelRefused with the reason, and SandboxFailed when no process for trying it can be started.
    """
    (judged,) = vet_all([model], caps=caps, extents=extents)
    if isinstance(judged, ModelRefused):
        raise judged
    return judged


def vet_all(
    models: Sequence[bytes], *, caps: Caps = CAPS, extents: Extents | None = None
) -> list[bytes | ModelRefused]:
    """What `vet` returns or raises for each model, from one start of a sandbox for all; raises SandboxFailed."""
    judged: list[bytes | ModelRefused] = []
    while len(judged) < len(models):
        judged += _judge(models[len(judged) :], caps, extents or {})
    return judged


def _judge(models: Sequence[bytes], caps: Caps, extents: Extents) -> Iterator[bytes | ModelRefused]:
    """The first models' verdicts, at least one: those that one sandbox lives to give."""
    small = [model for model in models if len(model) <= caps.model_bytes]
    if not small:
        yield from (_too_large(model, caps) for model in models)
        return
    with _sandbox(caps, extents) as sandbox:
        for model in models:
            if len(model) > caps.model_bytes:
                yield _too_large(model, caps)
                continue
            verdict = sandbox.ask(model)
            if verdict is None:
                yield ModelRefused(Reason.CRASHED, "trying it ends the sandbox itself")
                return
            yield verdict.judge(model)


def _too_large(model: bytes, caps: Caps) -> ModelRefused:
    return ModelRefused(Reason.TOO_LARGE, f"it is of {len(model)} bytes, more than {caps.model_bytes}")


class _Sandbox:
    """A running warden."""

    def __init__(self, process: subprocess.Popen[bytes], caps: Caps) -> None:
        self._process = process
        self._caps = caps

    def start(self, log: IO[bytes]) -> None:
        """Wait until it is ready; raises SandboxFailed with what it said instead."""
        if self._within(START_S, 0) is None:
            log.seek(0)
            said = " ".join(log.read().decode("utf-8", "replace").split())[-500:]
            raise SandboxFailed(f"the process for vetting models did not start: {said or 'it said nothing'}")

    def ask(self, model: bytes) -> Verdict | None:
        """Its verdict on one model, or None when it ended instead."""
        assert self._process.stdin is not None
        with self._deadline(self._caps.scaled(len(model)).wall_s + GRACE_S):
            try:
                frames.write_model(self._process.stdin.fileno(), model)
            except BrokenPipeError:
                return None
            return self._read(len(model) + _EXTRA_BYTES)

    def _within(self, seconds: float, limit: int) -> Verdict | None:
        with self._deadline(seconds):
            return self._read(limit)

    def _read(self, limit: int) -> Verdict | None:
        assert self._process.stdout is not None
        return frames.read_verdict(self._process.stdout.fileno(), limit)

    @contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        """Kill the sandbox unless the block ends in time: its end of the pipes closes, and reading ends."""
        timer = threading.Timer(seconds, kill, (self._process,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@contextmanager
def _sandbox(caps: Caps, extents: Extents) -> Iterator[_Sandbox]:
    """A warden that is ready, in an empty folder and a session of its own; it and all it started end with the block."""
    with tempfile.TemporaryDirectory(prefix="modelless-vet-") as folder, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with a program written above
            [sys.executable, "-I", "-c", _PROGRAM, *map(json.dumps, (_path(), asdict(caps), dict(extents)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        )
        try:
            sandbox = _Sandbox(process, caps)
            sandbox.start(log)
            yield sandbox
        finally:
            kill(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with suppress(BrokenPipeError):
                    pipe.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a sandbox and every process of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _path() -> list[str]:
    """Where this interpreter finds packages, absolute, for the sandbox's working directory is another."""
    return [os.path.abspath(entry) for entry in sys.path]


def _environment(folder: str) -> Mapping[str, str]:
    """All that a sandbox is told of its surroundings: no credential of this process's, and one thread per library."""
    shared = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {
        **shared,
        "PATH": os.defpath,
        "HOME": folder,
        "TMPDIR": folder,
        "LC_ALL": "C.UTF-8",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
