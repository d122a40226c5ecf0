"""The sandbox's own program: forks one confined process per model and reports its end; never reads a model itself.

Libraries are loaded once, and each model gets a fresh copy of the process, so one that breaks it breaks nothing else.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from optimizer.errors import ModelRefused, Reason
from optimizer.vet import frames, limits
from optimizer.vet.caps import Caps, Extents
from optimizer.vet.examine import examine
from optimizer.vet.frames import Verdict
from runtime.capi import find_library

_STDERR = "stderr"
_EXTRA_BYTES = 1 << 20
"""By which a rewritten model may be larger than what was sent."""

_NO_MEMORY = (b"bad_alloc", b"MemoryError", b"annot allocate memory", b"bad allocation")


def main() -> None:
    """Judge models from standard input until there are no more; arguments: caps and extents, as JSON."""
    limits.die_with_parent()
    limits.isolate()
    caps = Caps(**json.loads(sys.argv[1]))
    extents = {name: tuple(sizes) for name, sizes in json.loads(sys.argv[2]).items()}
    # Loaded and relocated here, it is so in every copy; an environment of its own each makes for itself.
    ctypes.CDLL(find_library())
    frames.write_verdict(1, Verdict(None, "ready"))
    while True:
        try:
            model = frames.read_model(0)
        except EOFError:
            return
        frames.write_verdict(1, judge(model, caps, extents))


def judge(model: bytes, caps: Caps, extents: Extents) -> Verdict:
    """What a process of its own finds of a model, or how that process ended."""
    caps = caps.scaled(len(model))
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiving)
        _inside(model, caps, extents, sending)
    os.close(sending)
    late = False

    def end(*_: Any) -> None:
        nonlocal late
        late = True
        with suppress(ProcessLookupError):  # it may have ended just now
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, caps.wall_s)
    verdict = frames.read_verdict(receiving, len(model) + _EXTRA_BYTES)
    os.close(receiving)
    # A process that closed its pipe and goes on has no more to say.
    ended = _reap(child, spare=verdict is None)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return verdict if verdict is not None else _autopsy(ended, late, caps)


def _inside(model: bytes, caps: Caps, extents: Extents, sending: int) -> None:
    """The confined process, from its first line to its last."""
    status = 1
    try:
        limits.die_with_parent()
        _redirect()
        limits.confine(caps)
        frames.write_verdict(sending, _examined(model, caps, extents))
        status = 0
    finally:
        os._exit(status)


def _examined(model: bytes, caps: Caps, extents: Extents) -> Verdict:
    try:
        accepted = examine(model, caps, extents)
    except ModelRefused as refusal:
        return Verdict(refusal.reason, refusal.detail)
    except MemoryError:
        return _out_of_memory(caps)
    except Exception as fault:  # noqa: BLE001 - a worker's outermost line: whatever a model provokes is its own doing
        return Verdict(Reason.CRASHED, f"checking it raised {type(fault).__name__}: {str(fault)[:300]}")
    return Verdict(None, "", b"" if accepted is model else accepted)


def _redirect() -> None:
    """Nothing to read, and standard output and error to a file that this program looks into if need be."""
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(_STDERR, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)


def _reap(child: int, *, spare: bool) -> int:
    if not spare:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _autopsy(ended: int, late: bool, caps: Caps) -> Verdict:
    """Why a process ended before it had said anything."""
    with open(_STDERR, "rb") as log:
        words = log.read()
    if late or -ended == signal.SIGXCPU:
        return Verdict(
            Reason.OUT_OF_TIME, f"trying it takes more than {caps.cpu_s} s of a processor, or {caps.wall_s:g} s"
        )
    # Where memory is short the kernel's own killer may be first.
    if -ended == signal.SIGKILL or any(mark in words for mark in _NO_MEMORY):
        return _out_of_memory(caps)
    name = signal.Signals(-ended).name if ended < 0 else f"status {ended}"
    return Verdict(Reason.CRASHED, f"trying it ends the process with {name}")


def _out_of_memory(caps: Caps) -> Verdict:
    return Verdict(Reason.OUT_OF_MEMORY, f"trying it takes more than {caps.memory_mb} MB of its own")
