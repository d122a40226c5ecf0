"""template.yaml on a LocalStack: built for this machine where that is not done already, and deployed by SAM."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".aws-sam" / "local"
LOG = ROOT / ".cache" / "localstack-sam.log"

STACK = "modelless-local"
"""As samconfig.toml names it."""

INPUTS = (
    "template.yaml",
    "infra/*.yaml",
    "infra/build/**/*",
    "registry/**/*",
    "scheduler/**/*",
    "runtime/**/*",
    "optimizer/**/*",
    "gateway/**/*",
    "functions/**/*",
)
"""What artefacts are made of."""


class SamError(Exception):
    """SAM did not do it; says where it says why."""


def build(sam: str, runtime: Runtime, variables: Mapping[str, str]) -> bool:
    """Build what is stale; False where nothing is. Raises SamError."""
    mark, inputs = BUILT / "inputs", _digest(runtime)
    if mark.exists() and mark.read_text() == inputs:
        return False
    target = {
        "ARCHITECTURE": runtime.architecture,
        "RUNTIME": runtime.version,
        "BUILD_PYTHON": sys.executable,
        # Whatever its version: what compiles bytecode.
        "PYTHON313": runtime.interpreter or "",
    }
    _run([sam, "build", "--build-in-source", "--build-dir", str(BUILT)], {**variables, **target})
    mark.write_text(inputs)
    return True


def deploy(sam: str, variables: Mapping[str, str]) -> None:
    """Deploy what was built, or update what is deployed. Raises SamError."""
    config = ["--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local"]
    options = ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
    _run([sam, "deploy", "--template", str(BUILT / "template.yaml"), *config, *options], variables)


def _run(command: list[str], variables: Mapping[str, str]) -> None:
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("w+") as log:
        status = _status(command, variables, log.fileno())
        if status:
            log.seek(0)
            tail = "".join(log.readlines()[-25:])
            raise SamError(f"{' '.join(command[:2])} failed ({LOG.relative_to(ROOT)}):\n{tail}")


def _status(command: list[str], variables: Mapping[str, str], log: int) -> int:
    """Run it in a group of its own, which ends with us: SAM starts make, and make starts pip."""
    process = subprocess.Popen(
        command,
        env=dict(variables),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        process_group=0,
    )
    try:
        return process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _digest(runtime: Runtime) -> str:
    digest = hashlib.sha256(f"{runtime.interpreter} {runtime.version} {runtime.architecture}".encode())
    for pattern in INPUTS:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"\n{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
