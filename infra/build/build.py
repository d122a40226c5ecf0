"""Makes one Lambda function's artefact: what its handler imports and no more, compiled; it never runs any of it.

    python infra/build/build.py worker --artifacts DIR

Wheels are those of the target (Python version, architecture), whatever runs this script. They are kept in a cache, so
that a second build only copies.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from bytecode import check_interpreter, compile_tree, find_interpreter
from imports import closure, exists
from recipes import DATA, PYTHON, RECIPES, RUNTIME_PROVIDES, UNZIPPED_LIMIT, Recipe
from wheels import MACHINES, Target, WheelError, architecture_here, dependencies

REPOSITORY = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024


class BuildError(Exception):
    """The artefact cannot be made; says why and what to do."""


def main() -> int:
    """Build the artefact that the arguments name; 0, or 1 with the reason on stderr."""
    arguments = _arguments()
    recipe = RECIPES[arguments.function]
    try:
        target = _target(recipe, arguments)
        size = build(recipe, arguments.artifacts, target, arguments.cache)
    except (BuildError, WheelError) as error:
        print(f"{recipe.name}: {error}", file=sys.stderr)
        return 1
    print(f"{recipe.name}: {size / MIB:.1f} MiB unzipped (budget {recipe.budget_mb}, Lambda's limit 250)")
    return 0


def build(recipe: Recipe, artifacts: Path, target: Target, cache: Path) -> int:
    """Fill `artifacts` with the function's code and return its size in bytes.

    Raises BuildError when the folder is not empty, the code imports what is not there, or the result is over budget,
    and WheelError; whatever was written is then removed.
    """
    if artifacts.exists() and any(artifacts.iterdir()):
        raise BuildError(f"{artifacts} is not empty; give a new folder")
    try:
        shutil.copytree(dependencies(recipe.name, target, cache), artifacts, dirs_exist_ok=True)
        _add_code(recipe, artifacts, target)
        return _checked_size(recipe, artifacts)
    except BaseException:
        shutil.rmtree(artifacts, ignore_errors=True)
        raise


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("function", choices=sorted(RECIPES))
    parser.add_argument("--artifacts", type=Path, required=True, help="an empty or new folder")
    parser.add_argument("--python", default=PYTHON, help=f"the runtime's Python version (default {PYTHON})")
    parser.add_argument("--architecture", choices=sorted(MACHINES), help="default: the function's own")
    parser.add_argument("--here", action="store_true", help="for the machine and interpreter that run this script")
    parser.add_argument("--interpreter", help="an interpreter of that version, to compile bytecode with")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / ".cache" / "build", help="where wheels are kept")
    return parser.parse_args()


def _target(recipe: Recipe, arguments: argparse.Namespace) -> Target:
    if arguments.here:
        return Target(f"{sys.version_info[0]}.{sys.version_info[1]}", architecture_here(), sys.executable)
    version, interpreter = arguments.python, arguments.interpreter or find_interpreter(arguments.python)
    if interpreter is None:
        print(f"{recipe.name}: no python{version} on PATH, so no bytecode: cold starts will compile", file=sys.stderr)
        return Target(version, arguments.architecture or recipe.architecture, None)
    try:
        check_interpreter(interpreter, version)
    except ValueError as error:
        raise BuildError(str(error)) from None
    return Target(version, arguments.architecture or recipe.architecture, interpreter)


def _add_code(recipe: Recipe, artifacts: Path, target: Target) -> None:
    code = closure(REPOSITORY, recipe.entry, recipe.unreached)
    missing = [
        f"{file}: {module}"
        for module, file in sorted(code.foreign.items())
        if module.partition(".")[0] not in RUNTIME_PROVIDES and not exists(artifacts, module)
    ]
    if missing:
        wanted = "\n  ".join(missing)
        raise BuildError(f"imports what requirements/{recipe.name}.txt does not bring:\n  {wanted}")
    data = [path for source, pattern in DATA.items() if REPOSITORY / source in code.files for path in _glob(pattern)]
    for file in (*code.files, *data):
        copy = artifacts / file.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    rooms = {file.relative_to(REPOSITORY).parts[0] for file in code.files}
    if target.interpreter is not None:
        for room in sorted(rooms):
            compile_tree(target.interpreter, artifacts, artifacts / room)


def _glob(pattern: str) -> list[Path]:
    found = sorted(REPOSITORY.glob(pattern))
    if not found:
        raise BuildError(f"nothing matches {pattern}; the rooms have changed, so look at DATA again")
    return found


def _checked_size(recipe: Recipe, artifacts: Path) -> int:
    size = sum(path.stat().st_size for path in artifacts.rglob("*") if path.is_file())
    limit = min(recipe.budget_mb * MIB, UNZIPPED_LIMIT)
    if size > limit:
        raise BuildError(f"{size / MIB:.1f} MiB unzipped is over {limit / MIB:.0f}; trim it, or raise its budget")
    return size


if __name__ == "__main__":
    sys.exit(main())
