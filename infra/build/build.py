"""Makes one Lambda function's artefact: its rooms, its pinned wheels, trimmed and compiled; it never runs them.

    python infra/build/build.py worker --artifacts DIR

Wheels are those of the target (Python version, architecture), whatever runs this script. What pip installed is kept,
trimmed and compiled, in a cache, so that a second build only copies.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from imports import missing_imports
from recipes import (
    BOTOCORE_SERVICES,
    PYTHON,
    RECIPES,
    RUNTIME_PROVIDES,
    TRIM,
    TRIM_ANYWHERE,
    UNZIPPED_LIMIT,
    Recipe,
)

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
MIB = 1024 * 1024

MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's name of an architecture to the wheels' name."""

NEWEST_GLIBC_MINOR = 28
"""Amazon Linux 2023, which runs python3.12 and newer, has glibc 2.34; the newest wheels we need want 2.28."""


class BuildError(Exception):
    """The artefact cannot be made; says why and what to do."""


def main() -> int:
    """Build the artefact that the arguments name; 0, or 1 with the reason on stderr."""
    arguments = _arguments()
    recipe = RECIPES[arguments.function]
    try:
        size = build(
            recipe,
            arguments.artifacts,
            version=arguments.python,
            architecture=arguments.architecture or recipe.architecture,
            cache=arguments.cache,
            interpreter=arguments.interpreter,
        )
    except BuildError as error:
        print(f"{recipe.name}: {error}", file=sys.stderr)
        return 1
    print(f"{recipe.name}: {size / MIB:.1f} MiB unzipped (budget {recipe.budget_mb}, Lambda's limit 250)")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("function", choices=sorted(RECIPES))
    parser.add_argument("--artifacts", type=Path, required=True, help="an empty or new folder")
    parser.add_argument("--python", default=PYTHON, help=f"the runtime's Python version (default {PYTHON})")
    parser.add_argument("--architecture", choices=sorted(MACHINES), help="default: the function's own")
    parser.add_argument("--interpreter", help="an interpreter of that version, to compile bytecode with")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / ".cache" / "build", help="where wheels are kept")
    return parser.parse_args()


def build(
    recipe: Recipe, artifacts: Path, *, version: str, architecture: str, cache: Path, interpreter: str | None = None
) -> int:
    """Fill `artifacts` with the function's code and return its size in bytes.

    Raises BuildError when the folder is not empty, a wheel is missing, the code imports what is not there, or the
    result is over budget.
    """
    if artifacts.exists() and any(artifacts.iterdir()):
        raise BuildError(f"{artifacts} is not empty; give a new folder")
    compiler = interpreter or find_interpreter(version)
    if compiler is None:
        print(f"{recipe.name}: no python{version} on PATH, so no bytecode: cold starts will compile", file=sys.stderr)
    shutil.copytree(_dependencies(recipe, version, architecture, cache, compiler), artifacts, dirs_exist_ok=True)
    sources = _copy_rooms(recipe, artifacts)
    missing = missing_imports(artifacts, REPOSITORY, sources, RUNTIME_PROVIDES | recipe.unreached)
    if missing:
        raise BuildError("its code imports what it does not hold; look at RECIPES again\n  " + "\n  ".join(missing))
    if compiler is not None:
        for room in sorted({artifacts / source.relative_to(artifacts).parts[0] for source in sources}):
            _compile(compiler, artifacts, room)
    return _check_size(recipe, artifacts)


def find_interpreter(version: str) -> str | None:
    """An interpreter of this `major.minor` that really runs: this one, or one on PATH (a pyenv shim may refuse)."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    for folder in os.get_exec_path():
        candidate = shutil.which(f"python{version}", path=folder)
        if candidate and _runs(candidate):
            return candidate
    return None


def _runs(interpreter: str) -> bool:
    return subprocess.run([interpreter, "-c", ""], capture_output=True, check=False).returncode == 0


def _dependencies(recipe: Recipe, version: str, architecture: str, cache: Path, compiler: str | None) -> Path:
    """The folder of the function's trimmed and compiled dependencies, made once per set of inputs."""
    requirements = HERE / "requirements" / f"{recipe.name}.txt"
    key = hashlib.sha256(f"{version} {architecture} {_bytecode_tag(compiler)}".encode())
    for source in (*sorted(requirements.parent.glob("*.txt")), HERE / "recipes.py", Path(__file__)):
        key.update(source.read_bytes())
    made = cache / f"{recipe.name}-{version}-{architecture}-{key.hexdigest()[:16]}"
    if made.exists():
        return made
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        target = Path(scratch) / "site"
        _install(requirements, target, version, architecture)
        _trim(requirements, target)
        if compiler is not None:
            _compile(compiler, target, target)
        try:
            target.rename(made)  # atomic, and a racing build that was first has made the same
        except OSError:
            if not made.exists():
                raise
    return made


def _bytecode_tag(compiler: str | None) -> str:
    if compiler is None:
        return "none"
    ask = "import importlib.util as u; print(u.MAGIC_NUMBER.hex())"
    return subprocess.run([compiler, "-c", ask], capture_output=True, check=True, text=True).stdout.strip()


def _install(requirements: Path, target: Path, version: str, architecture: str) -> None:
    machine = MACHINES[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC_MINOR, 16, -1)]
    platforms = [word for tag in (*tags, f"manylinux2014_{machine}") for word in ("--platform", tag)]
    # No resolving: the list is the whole list. Only wheels: nothing of the build machine may leak in.
    options = "--no-deps --only-binary=:all: --implementation cp --no-compile --quiet --disable-pip-version-check"
    pip = [sys.executable, "-m", "pip", "install", *options.split()]
    done = subprocess.run(
        [*pip, "--python-version", version, *platforms, "--target", str(target), "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"pip could not install {requirements.name} for python{version} {machine}:\n{done.stderr}")


def _trim(requirements: Path, target: Path) -> None:
    installed = _names(requirements)
    for distribution, patterns in TRIM.items():
        for pattern in patterns if distribution in installed else ():
            found = list(target.glob(pattern))
            if not found:
                raise BuildError(f"nothing matches {pattern}; {distribution} has changed, so look at TRIM again")
            _remove(found)
    for pattern in TRIM_ANYWHERE:
        _remove(list(target.glob(pattern)))
    services = target / "botocore" / "data"
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


def _copy_rooms(recipe: Recipe, artifacts: Path) -> list[Path]:
    """Copy the function's own files and return the Python ones among the copies."""
    copies: list[Path] = []
    for pattern in recipe.rooms:
        files = [path for path in REPOSITORY.glob(pattern) if path.is_file()]
        if not files:
            raise BuildError(f"nothing matches {pattern}; the rooms have changed, so look at RECIPES again")
        for file in files:
            place = artifacts / file.relative_to(REPOSITORY)
            place.parent.mkdir(parents=True, exist_ok=True)
            copies.append(Path(shutil.copyfile(file, place)))
    return [copy for copy in copies if copy.suffix == ".py"]


def _compile(compiler: str, root: Path, folder: Path) -> None:
    """Write bytecode that is never checked against its source: Lambda's copy is read-only, and so are its dates."""
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/var/task"]
    subprocess.run([compiler, "-m", "compileall", *options, str(folder)], check=True)


def _check_size(recipe: Recipe, artifacts: Path) -> int:
    size = sum(path.stat().st_size for path in artifacts.rglob("*") if path.is_file())
    limit = min(recipe.budget_mb * MIB, UNZIPPED_LIMIT)
    if size > limit:
        raise BuildError(f"{size / MIB:.1f} MiB unzipped is over {limit / MIB:.0f}; trim it, or raise its budget")
    return size


if __name__ == "__main__":
    sys.exit(main())
