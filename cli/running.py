"""A platform running as a process of its own for as long as a block lasts; always stopped by its pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.errors import Failed

START_S = 60.0
"""Most seconds until it listens: snapshots of the SnapStart tiers are taken first, on a machine that may be busy."""

STOP_S = 20.0
"""Most seconds for requests on their way to finish."""


@dataclass(frozen=True, slots=True)
class Running:
    """Where it listens and which process it is."""

    url: str
    pid: int


@contextmanager
def running(home: Path, *arguments: str, log: Path | None = None) -> Iterator[Running]:
    """`modelless up` on a free loopback port over `home`; its log goes to `log` (the home's `up.log`).

    Nothing is generated beside what is measured or shown, unless the arguments say `--generate`.
    Raises Failed with the end of the log when it does not listen in time.
    """
    log = log or home / "up.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(_command(home, arguments), stdout=subprocess.PIPE, stderr=sink, text=True)  # noqa: S603
        try:
            yield Running(_url(process, log), process.pid)
        finally:
            _stop(process)


def _command(home: Path, arguments: Sequence[str]) -> list[str]:
    run = "from cli.main import main; main()"
    fixed = ["--home", os.fspath(home), "--port", "0", "--json", "--no-generate"]
    return [sys.executable, "-P", "-c", run, "up", *fixed, *arguments]


def _url(process: subprocess.Popen[str], log: Path) -> str:
    """The address in the one line that `up --json` prints when it listens."""
    assert process.stdout is not None
    timer = threading.Timer(START_S, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    if not line:
        process.wait()
        tail = log.read_text(errors="replace")[-2000:]
        raise Failed(f"the platform did not start (exit {process.returncode}):\n{tail}")
    return str(json.loads(line)["url"])


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
