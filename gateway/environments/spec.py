"""What a function is to the platform that runs it: one frozen value; starts nothing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import InvalidValue
from registry.model import StartMode

MB_PER_VCPU = 1769
"""Lambda gives one full vCPU at 1,769 MB, in proportion below and above (Lambda guide, configuration-memory)."""

INIT_LIMIT_S = 10.0
"""Lambda's limit for INIT (Lambda guide, lambda-runtime-environment)."""

REGION = "us-east-1"
ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A function's code and configuration, as `CreateFunction` would take them."""

    name: str
    handler: str
    """`package.module.function`."""
    task_root: Path
    """The working directory, LAMBDA_TASK_ROOT."""
    python_path: tuple[str, ...] = ()
    """Import path besides the standard library: the code and its layers."""
    env: Mapping[str, str] = field(default_factory=dict)
    memory_mb: int = MB_PER_VCPU
    timeout_s: float = 30.0
    init_timeout_s: float = INIT_LIMIT_S
    start_mode: StartMode = StartMode.ONDEMAND
    concurrency: int = 4
    queue: int = 0
    """Requests that may wait while every environment is busy; none on Lambda, which throttles at once."""
    idle_timeout_s: float = 300.0
    python: str = sys.executable
    python_flags: tuple[str, ...] = ("-S", "-s", "-P")
    """No site (python_path says it all), no user site, nothing prepended to the path."""
    resident: frozenset[str] = frozenset()
    """Variants that a new environment holds before its first request."""
    freeze: bool = True
    """Whether an idle environment is stopped, as Lambda freezes it."""

    def __post_init__(self) -> None:
        if (
            self.memory_mb < 1
            or self.concurrency < 1
            or self.queue < 0
            or self.timeout_s <= 0
            or self.init_timeout_s <= 0
        ):
            raise InvalidValue(
                f"function {self.name}",
                "needs a positive memory_mb, concurrency, timeout_s and init_timeout_s",
                "give positive numbers",
            )

    @property
    def vcpus(self) -> float:
        """The CPU share that this memory size buys."""
        return self.memory_mb / MB_PER_VCPU

    @property
    def arn(self) -> str:
        """The function's name as its handler sees it."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"


def import_roots(*packages: str) -> tuple[str, ...]:
    """The directories that these packages are imported from here, in order, each once.

    Serves a checkout and an installed wheel alike. Raises InvalidValue naming a package that is not installed.
    """
    roots: dict[str, None] = {}
    for package in packages:
        found = importlib.util.find_spec(package)
        if found is None:
            raise InvalidValue("python_path", f"package {package!r} is not installed", f"install {package}")
        locations = found.submodule_search_locations
        origin = Path(next(iter(locations))) if locations else Path(str(found.origin))
        roots[str(origin.parent)] = None
    return tuple(roots)


def environ_of(spec: FunctionSpec, api: str, stream: str) -> dict[str, str]:
    """The environment variables of one execution environment, as Lambda sets them (lambda guide, env vars).

    `api` is the Runtime API's `host:port`; `stream` names the log stream. AWS_EXECUTION_ENV is left out unless the
    function asks for it, because the runtime client then polls through a thread pool (twice the CPU per invoke).
    """
    snap = spec.start_mode is StartMode.SNAPSTART
    threads = str(max(1, int(spec.vcpus)))
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": ":".join(spec.python_path),
        # Math libraries must not size their pools by the machine's cores.
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": "1",
        "LAMBDA_TASK_ROOT": str(spec.task_root),
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if snap else "on-demand",
        **spec.env,
        "_HANDLER": spec.handler,
        "AWS_LAMBDA_RUNTIME_API": api,
    }
