"""`make localstack`: the template deployed to a LocalStack and asked over HTTP; it leaves nothing of its own behind.

    python infra/localstack/smoke.py --sam sam --environment .venv-localstack [--endpoint URL] [--stay] [OPTION]...

Without an endpoint a LocalStack is started on this machine, without Docker, and ended again. With one, that LocalStack
is used as it is: the stack stays there, and it runs the functions as it does. Other options are pytest's.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from deployment import ROOT, STACK, SamError, build, deploy
from emulator import EmulatorError, started, version_of
from runtime import Runtime, find_runtime


def main() -> int:
    """0 where every test passed; else what pytest says, or 1 with the reason on stderr."""
    arguments, options = _parser().parse_known_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    began = time.monotonic()
    try:
        with ExitStack() as closing:
            status = _session(arguments, options, closing)
    except (EmulatorError, SamError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything that was started has ended", file=sys.stderr)
        return 130
    print(f"{time.monotonic() - began:6.1f} s  in all")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", required=True, help="the sam command")
    parser.add_argument("--environment", type=Path, required=True, help="the virtual environment with LocalStack")
    parser.add_argument("--endpoint", help="a LocalStack that runs already")
    parser.add_argument("--stay", action="store_true", help="after the tests, keep it all until Ctrl-C")
    return parser


def _session(arguments: argparse.Namespace, options: list[str], closing: ExitStack) -> int:
    own = arguments.endpoint is None
    runtime = find_runtime(here=own)
    if own:
        with _timed("started"):
            endpoint = closing.enter_context(_started(arguments.environment, runtime))
    else:
        endpoint = arguments.endpoint.rstrip("/")
    print(_introduction(endpoint, runtime, own=own), flush=True)
    variables = _variables(endpoint)
    with _timed("built"):
        build(arguments.sam, runtime, variables)
    with _timed("deployed"):
        deploy(arguments.sam, variables)
    status = _test(options, variables)
    if arguments.stay:
        print(f"stack {STACK} stays at {endpoint} until Ctrl-C", flush=True)
        signal.pause()
    return status


def _started(environment: Path, runtime: Runtime) -> AbstractContextManager[str]:
    assert runtime.interpreter is not None
    return started(environment, runtime.interpreter, runtime.packages(ROOT / ".cache"))


def _introduction(endpoint: str, runtime: Runtime, *, own: bool) -> str:
    lines = [f"LocalStack {version_of(endpoint)} at {endpoint}"]
    if own:
        lines.append(f"  started without Docker; functions run as processes on Python {runtime.version}")
    if not runtime.managed:
        lines.append(f"  there is no Python of the template's version here: functions are built for {runtime.version}")
    return "\n".join(lines)


def _variables(endpoint: str) -> dict[str, str]:
    """This process's variables with AWS being that endpoint, and nothing that could lead to an account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SAM_CLI_TELEMETRY": "0",
        "MODELLESS_STACK": STACK,
    }


def _test(options: list[str], variables: dict[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", "-m", "localstack", "tests/localstack", *options]
    with _timed("tested"):
        return subprocess.run(command, env=variables, cwd=ROOT, check=False).returncode


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
