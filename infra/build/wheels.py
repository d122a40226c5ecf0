"""A function's dependencies for its own machine: pinned wheels, trimmed and compiled once, then kept in a cache."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bytecode import compile_tree
from recipes import BOTOCORE_SERVICES, TRIM, TRIM_ANYWHERE, TRIM_OF

HERE = Path(__file__).resolve().parent

MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's name of an architecture to the wheels' name."""

NEWEST_GLIBC_MINOR = 28
"""Amazon Linux 2023, which runs python3.12 and newer, has glibc 2.34; the newest wheels we need want 2.28."""


def architecture_here() -> str:
    """This machine's architecture, as Lambda names it."""
    machine = platform.machine()
    return next((name for name, wheels in MACHINES.items() if wheels == machine), machine)


class WheelError(Exception):
    """The dependencies cannot be had, or are not what they were; says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an artefact is built for, and what compiles it."""

    version: str
    """Python's `major.minor`."""
    architecture: str
    """As Lambda names it."""
    interpreter: str | None
    """Of that version; None leaves bytecode out."""


def dependencies(function: str, target: Target, cache: Path) -> Path:
    """The folder of a function's dependencies in the cache, made when its inputs have changed. Raises WheelError."""
    requirements = HERE / "requirements" / f"{function}.txt"
    family = f"{function}-{target.version}-{target.architecture}"
    made = cache / f"{family}-{_key(requirements, target)}"
    if made.exists():
        return made
    _remove(list(cache.glob(f"{family}-*")))  # made from inputs that are no more
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        site = Path(scratch) / "site"
        _install(requirements, site, target)
        _trim(requirements, site)
        if target.interpreter is not None:
            compile_tree(target.interpreter, site, site)
        try:
            site.rename(made)
        except OSError:  # a racing build was first, and has made the same
            if not made.exists():
                raise
    return made


def _key(requirements: Path, target: Target) -> str:
    digest = hashlib.sha256(b"compiled" if target.interpreter is not None else b"bare")
    for source in (*sorted(requirements.parent.glob("*.txt")), *sorted(HERE.glob("*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _install(requirements: Path, site: Path, target: Target) -> None:
    machine = MACHINES[target.architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC_MINOR, 16, -1)]
    platforms = [word for tag in (*tags, f"manylinux2014_{machine}") for word in ("--platform", tag)]
    # No resolving: the list is the whole list. Only wheels: nothing of the build machine may leak in.
    options = "--no-deps --only-binary=:all: --implementation cp --no-compile --quiet --disable-pip-version-check"
    pip = [sys.executable, "-m", "pip", "install", *options.split(), "--python-version", target.version, *platforms]
    done = subprocess.run(
        [*pip, "--target", str(site), "--requirement", str(requirements)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WheelError(f"no {requirements.name} for Python {target.version} on {machine}:\n{done.stderr.strip()}")


def _trim(requirements: Path, site: Path) -> None:
    for distribution in sorted(_names(requirements)):
        for pattern in TRIM_OF.get((requirements.stem, distribution), TRIM.get(distribution, ())):
            found = list(site.glob(pattern))
            if not found:
                raise WheelError(f"nothing matches {pattern}; {distribution} has changed, so look at TRIM again")
            _remove(found)
    for pattern in TRIM_ANYWHERE:
        _remove(list(site.glob(pattern)))
    services = site / "botocore" / "data"
    _remove([path for path in services.glob("*/") if path.name not in BOTOCORE_SERVICES])


def _names(requirements: Path) -> set[str]:
    names: set[str] = set()
    for line in requirements.read_text().splitlines():
        if line.startswith("-r "):
            names |= _names(requirements.parent / line.removeprefix("-r ").strip())
        elif match := re.match(r"([a-z0-9-]+)==", line):
            names.add(match[1])
    return names


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
