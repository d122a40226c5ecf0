"""A LocalStack: started here without Docker and ended again, or found running; nothing else passes for one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT / ".cache" / "localstack.log"
"""What the last one had to say."""

HOST = "127.0.0.1"
PORT = 4566
"""LocalStack's own."""

START_S = 90.0
STOP_S = 5.0
"""It ends its functions first; then it would wait for its own pollers, of which nothing is left to keep."""

SETTINGS = {
    # Without this it takes a virtual machine for a container, and writes to /var/lib.
    "OVERRIDE_IN_DOCKER": "0",
    # The default server binds every address, whatever GATEWAY_LISTEN says.
    "GATEWAY_SERVER": "hypercorn",
    "USE_SSL": "0",
    "DNS_ADDRESS": "0",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "DISABLE_EVENTS": "1",
    # The new engine resolves `!Ref Function.Alias` before SAM has made the alias, and fails.
    "PROVIDER_OVERRIDE_CLOUDFORMATION": "engine-legacy",
    "PROVIDER_OVERRIDE_DYNAMODB": "modelless",
    "LAMBDA_RUNTIME_EXECUTOR": "modelless",
    "LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT": "60",
}


class EmulatorError(Exception):
    """There is no LocalStack to be had; says why."""


def version_of(endpoint: str) -> str:
    """Which LocalStack answers there, by its own word. Raises EmulatorError where none does."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=10) as answer:
            health = json.load(answer)
    except (OSError, ValueError) as error:
        raise EmulatorError(f"no LocalStack answers at {endpoint}: {error}") from None
    if not isinstance(health, dict) or "version" not in health:
        raise EmulatorError(f"what answers at {endpoint} does not say that it is a LocalStack")
    return str(health["version"])


@contextmanager
def started(environment: Path, interpreter: str, packages: Path) -> Iterator[str]:
    """The endpoint of a LocalStack of our own, on loopback; gone afterwards, with all that it wrote.

    Raises EmulatorError with the end of its log where it does not come up.
    """
    with TemporaryDirectory(prefix="modelless-localstack-") as folder:
        place = Path(folder)
        port = _free_port()
        endpoint = f"http://{HOST}:{port}"
        process = _start(environment / "bin" / "python", place, port, interpreter, packages)
        try:
            _wait(process, endpoint, place / "log")
            yield endpoint
        finally:
            _stop(process)
            shutil.copyfile(place / "log", LOG)


def _free_port() -> int:
    """LocalStack's own port, or any where somebody else has that one."""
    for port in (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmulatorError(f"no port is free on {HOST}")


def _start(python: Path, place: Path, port: int, interpreter: str, packages: Path) -> subprocess.Popen[bytes]:
    (place / "tmp").mkdir()
    variables = {
        **SETTINGS,
        "PATH": os.defpath,
        "HOME": str(place),
        "TMPDIR": str(place / "tmp"),
        "XDG_CACHE_HOME": str(place / "cache"),
        "FILESYSTEM_ROOT": str(place / "root"),
        "PYTHONPATH": str(ROOT),
        "GATEWAY_LISTEN": f"{HOST}:{port}",
        "MODELLESS_RUNTIME_PYTHON": interpreter,
        "MODELLESS_RUNTIME_PACKAGES": str(packages),
    }
    with (place / "log").open("wb") as log:
        # A session of its own: Ctrl-C is for us, and we end it.
        return subprocess.Popen(
            [python, "-m", "modelless_localstack", str(os.getpid())],
            env=variables,
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise EmulatorError(f"LocalStack did not come up at {endpoint}:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
