"""MiniStack as a process of its own on loopback, always ended by its pid; it is no part of what is deployed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START_S = 60.0

END_S = 5.0

PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """An emulator that listens."""

    endpoint: str
    process: int
    """Its id; the functions that it runs are its children."""


@contextmanager
def emulator(program: Path, scratch: Path, *arguments: str | Path, **settings: str) -> Iterator[Running]:
    """A new, empty account, for as long as the block lasts.

    `program` is MiniStack's command or interpreter, in an environment of its own; `settings` are its variables. What it
    writes goes below `scratch`, its certificate to `ministack-tls/server.crt`. Raises RuntimeError with the end of its
    log when it does not listen in time.
    """
    port = _free_port()
    # Its own variables alone say who the account's owner is, and where AWS is.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    own = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "STATE_DIR": str(scratch / "state"),
        "TMPDIR": str(scratch),
    }
    log = scratch / "ministack.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603
            [program, *arguments],
            env={**kept, **own, "LOG_LEVEL": "WARNING", **settings},
            stdout=sink,
            stderr=sink,
            process_group=0,
        )
    try:
        _wait(port, process, log)
        scheme = "https" if settings.get("USE_SSL") else "http"
        yield Running(f"{scheme}://127.0.0.1:{port}", process.pid)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and the functions that it runs, which are of its group: it waits for them, and they for nobody."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(PAUSE_S)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen:\n{log.read_text(errors='replace')[-2000:]}")
