"""What each Lambda function's artefact weighs and takes to start, against its budget; it invokes no function.

Every artefact is built as `sam build` would, for the runtime's Python where this machine has it and for this machine's
processor, and imported as the managed runtime does: by a fresh interpreter that sees the artefact and nothing else,
with the variables that template.yaml gives. `import_ms` is from before the handler's import until after it; `cpu_ms`
is all of the process's CPU time, the interpreter's own start included, and what the budget is about, as it depends
least on who else runs here. A function has less of a CPU than this: 512 MB are 0.29 of a core. They take turns.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from benchmarks.deployed import Resources, all_resources
from benchmarks.harness import Row, interleaved, interval, run

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "infra" / "build"
MIB = 1024 * 1024

REPEATS, QUICK_REPEATS = 21, 7

EVERYTHING = {"WarmBudgetUsdPerHour": "0.5", "Optimizer": "on", "QuotaRequestsPerSecond": "50"}
"""Parameters with which every function is deployed."""

IMPORTED = (
    "import time; began = time.perf_counter(); import functions.{}.app; "
    "print((time.perf_counter() - began) * 1e3, flush=True)"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What artefacts are built for, and what runs them here."""

    version: str
    architecture: str
    interpreter: str


@dataclass(slots=True)
class Start:
    """One function's artefact, started again and again."""

    name: str
    root: Path
    interpreter: str
    environ: Mapping[str, str]
    cpu_ms: list[float]

    def once(self) -> float:
        """The milliseconds of one import; its CPU time is kept. Raises RuntimeError where it fails."""
        command = [self.interpreter, "-S", "-s", "-P", "-c", IMPORTED.format(self.name)]
        with subprocess.Popen(
            command, env=dict(self.environ), cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            said, complaints = process.stdout.read(), process.stderr.read()
            # Not wait(): that would throw away what the kernel counted.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{self.name} does not start: {complaints.strip()}")
        self.cpu_ms.append((usage.ru_utime + usage.ru_stime) * 1e3)
        return float(said)


def rows(quick: bool) -> Sequence[Row]:
    """One for each function, worker sizes as one."""
    recipes = _module("recipes").RECIPES
    functions = _functions(all_resources(ROOT / "template.yaml", **EVERYTHING))
    target = _target()
    with tempfile.TemporaryDirectory() as folder:
        starts = {
            name: Start(
                name, _built(name, Path(folder), target), target.interpreter, _environ(folder, name, function), []
            )
            for name, function in functions.items()
        }
        for start in starts.values():
            start.once()  # the file system's cache is no part of it
            start.cpu_ms.clear()
        imports = interleaved(
            {name: partial(Start.once, start) for name, start in starts.items()}, QUICK_REPEATS if quick else REPEATS
        )
        return [_row(recipes[name], start, imports[name]) for name, start in starts.items()]


def _row(recipe: Any, start: Start, import_ms: Sequence[float]) -> Row:
    size_mb = sum(path.stat().st_size for path in start.root.rglob("*") if path.is_file()) / MIB
    took, low, high = interval(import_ms)
    cpu_ms = median(start.cpu_ms)
    return {
        "function": start.name,
        "unzipped_mb": round(size_mb, 1),
        "budget_mb": recipe.budget_mb,
        "import_ms": round(took, 1),
        "import_low_ms": round(low, 1),
        "import_high_ms": round(high, 1),
        "budget_ms": recipe.budget_ms,
        "cpu_ms": round(cpu_ms, 1),
        "within": size_mb <= recipe.budget_mb and cpu_ms <= recipe.budget_ms,
    }


def _functions(resources: Resources) -> dict[str, dict[str, Any]]:
    """Each handler's function; of the workers, which differ in size alone, the smallest."""
    found: dict[str, dict[str, Any]] = {}
    for resource in resources.values():
        if resource["Type"] == "AWS::Lambda::Function":
            name = resource["Properties"]["Handler"].split(".")[1]
            known = found.setdefault(name, resource["Properties"])
            if resource["Properties"]["MemorySize"] < known["MemorySize"]:
                found[name] = resource["Properties"]
    return found


def _environ(folder: str, name: str, function: Mapping[str, Any]) -> dict[str, str]:
    """What the managed runtime and the template set; what only a deployment knows is some text."""
    given = {key: _text(value) for key, value in function["Environment"]["Variables"].items()}
    return {
        "PATH": os.defpath,
        "PYTHONPATH": str(Path(folder) / name),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function["MemorySize"]),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        **given,
    }


def _text(value: Any) -> str:
    if isinstance(value, dict) and "Fn::Sub" in value:
        template = value["Fn::Sub"]
        return str(template if isinstance(template, str) else template[0])
    return value if isinstance(value, str) else "placeholder"


def _target() -> Target:
    """The template's Python where this machine has it, else this one; this machine's processor in any case."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    version = _module("recipes").PYTHON
    interpreter = _module("bytecode").find_interpreter(version)
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return Target(version, machine, interpreter) if interpreter else Target(here, machine, sys.executable)


def _built(name: str, folder: Path, target: Target) -> Path:
    command = [sys.executable, str(BUILD / "build.py"), name, "--artifacts", str(folder / name)]
    options = ["--python", target.version, "--architecture", target.architecture, "--interpreter", target.interpreter]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return folder / name


def _module(name: str) -> ModuleType:
    """A module of the build, which is scripts and no package."""
    spec = importlib.util.spec_from_file_location(name, BUILD / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    raise SystemExit(run("artefacts", rows))
