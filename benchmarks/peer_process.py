"""One server as a process: started, timed to its first right answer, weighed and stopped with all that it started."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.load import Target
from benchmarks.peer_servers import Launch, Server, variables

START_LIMIT_S = 90.0
STOP_LIMIT_S = 5.0
CLEANING_LIMIT_S = 1.0
"""How long a server's other processes get after its own; LitServe's never end by themselves."""

PORTS = range(20_000, 32_000)
"""Below those that Linux gives to outgoing connections, one of which may take a free port before a slow server does."""

SHARED_MEMORY = Path("/dev/shm")

POLL_S = 0.005
"""Between two tries of a server that starts: what the first answer's time is sharp to."""


class NotStarted(RuntimeError):
    """A server that ended, or gave no answer in time; the message says what it said last."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has answered once."""

    target: Target
    first_answer_s: float
    """From the start of its process to the end of its first answer."""
    first_answer: bytes
    process: psutil.Process

    def memory_mb(self) -> float:
        """Memory of its whole tree of processes: PSS, which counts what they share once, or RSS where PSS is hidden."""
        return sum(_memory(process) for process in tree(self.process)) / 1e6


@contextlib.contextmanager
def running(server: Server, programs: Path, models: Path, model: str, body: bytes) -> Iterator[Running]:
    """`server` with one model, from its first answer to `body`; raises NotStarted.

    On leaving, it and every process that it started are gone.
    """
    # Ray's sockets have a path of 107 bytes at most, so its folder must stand high.
    folder = Path(tempfile.mkdtemp(prefix="peer-"))
    launch = Launch(programs, models, model, folder, free_ports())
    log = folder / "log.txt"
    try:
        started = time.perf_counter()
        process = _started(server, launch, log)
        try:
            target = Target("127.0.0.1", launch.ports[0])
            answer = _first_answer(target, server.dialect.path.format(model=model), body, process, log)
            yield Running(target, time.perf_counter() - started, answer, process)
        finally:
            stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tree(process: psutil.Process) -> list[psutil.Process]:
    """`process` and all that it started and that still run."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def stop(process: psutil.Process) -> None:
    """End `process` and its tree: it is asked, and given time to clean up, then all that is left is killed."""
    members = tree(process)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    psutil.wait_procs(members[:1], STOP_LIMIT_S)
    _, left = psutil.wait_procs(members, CLEANING_LIMIT_S)
    for member in {*left, *(late for one in left for late in tree(one))}:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(left, STOP_LIMIT_S)
    # What lost its parent meanwhile is still of the group that the server was started as.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    _unlink_shared_memory({member.pid for member in members})


def free_ports() -> tuple[int, int, int]:
    """Three ports of the loopback address that nothing listens on and that no connection is given by itself."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(PORTS, len(PORTS)):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == 3:
                break
    first, second, third = found
    return first, second, third


def _started(server: Server, launch: Launch, log: Path) -> psutil.Process:
    environment = {**os.environ, **variables(server, launch)}
    with log.open("wb") as output:
        return psutil.Popen(
            server.command(launch, server.settings),
            env=environment,
            cwd=launch.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _first_answer(target: Target, path: str, body: bytes, process: psutil.Process, log: Path) -> bytes:
    end = time.monotonic() + START_LIMIT_S
    last = "no connection"
    while time.monotonic() < end and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        try:
            status, answer = _asked(target, path, body)
            if status == http.client.OK:
                return answer
            last = f"status {status}"
        except (OSError, http.client.HTTPException) as fault:
            last = type(fault).__name__
        time.sleep(POLL_S)
    raise NotStarted(f"no answer ({last}): {_last_line(log)}")


def _unlink_shared_memory(pids: Collection[int]) -> None:
    """PyTriton leaves 4 MB behind at every stop, named after its process."""
    for file in SHARED_MEMORY.glob("*"):
        named = re.match(r"[a-z]+(\d+)-", file.name)
        if named and int(named[1]) in pids:
            file.unlink(missing_ok=True)


def _asked(target: Target, path: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(target.host, target.port, timeout=START_LIMIT_S)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()


def _last_line(log: Path) -> str:
    lines: Sequence[str] = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "it said nothing"


def _memory(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        try:
            full = process.memory_full_info()
        except psutil.AccessDenied:
            return int(process.memory_info().rss)
        return int(getattr(full, "pss", full.rss))
    return 0
