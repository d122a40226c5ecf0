"""MiniStack as a process of its own: DynamoDB, S3, SQS and schedules on loopback; always ended by its pid."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 60.0

PAUSE_S = 0.05


@contextmanager
def emulator(program: Path, scratch: Path) -> Iterator[str]:
    """The endpoint of a new, empty account, for as long as the block lasts.

    `program` is MiniStack's command, in an environment of its own. Raises RuntimeError with the end of its log when it
    does not listen in time.
    """
    port = _free_port()
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "STATE_DIR": str(scratch), "LOG_LEVEL": "WARNING"}
    log = scratch / "ministack.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([program], env={**os.environ, **settings}, stdout=sink, stderr=sink)  # noqa: S603
    try:
        _wait(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
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
