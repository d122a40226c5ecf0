"""What a function's code is made of: every module of this repository that it may import, and what else it needs.

Source is read, never run, so that any machine's artefact can be made on any other. Imports inside functions count:
they would fail later, on a request. Those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Closure:
    """All that a module imports, directly or not."""

    files: tuple[Path, ...]
    """Of this repository, packages' `__init__.py` included."""
    foreign: dict[str, str]
    """Each other module outside the standard library, with one file that imports it."""


def closure(repository: Path, module: str, unreached: frozenset[str]) -> Closure:
    """What `module` imports, without following or listing `unreached` modules and packages."""
    files: dict[Path, None] = {}
    foreign: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for source in _sources(repository, name):
            if source in files:
                continue
            files[source] = None
            for imported in _imported(repository, source):
                if _among(imported, unreached) or imported.partition(".")[0] in sys.stdlib_module_names:
                    continue
                if _is_ours(repository, imported):
                    waiting.append(imported)
                else:
                    foreign.setdefault(imported, str(source.relative_to(repository)))
    return Closure(tuple(sorted(files)), foreign)


def exists(root: Path, module: str) -> bool:
    """Whether a module or package lies below `root`."""
    place = root.joinpath(*module.split("."))
    return place.is_dir() or place.with_suffix(".py").exists() or any(place.parent.glob(f"{place.name}.*.so"))


def _sources(repository: Path, module: str) -> Iterator[Path]:
    """A module's file, and those of the packages around it, which are imported first."""
    parts = module.split(".")
    for depth in range(1, len(parts)):
        yield repository.joinpath(*parts[:depth], "__init__.py")
    place = repository.joinpath(*parts)
    yield place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _imported(repository: Path, source: Path) -> Iterator[str]:
    for module, names in _imports(ast.parse(source.read_text())):
        yield module
        # Of `from package import name`, the name is a module if there is a module of that name.
        yield from (f"{module}.{name}" for name in names if _is_ours(repository, f"{module}.{name}"))


def _imports(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Each imported module with the names taken from it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imports(ast.Module(node.orelse, []))
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, [alias.name for alias in node.names]
        else:
            yield from _imports(node)


def _is_ours(repository: Path, module: str) -> bool:
    """Whether this repository has the module; a folder is one only when it is a package."""
    place = repository.joinpath(*module.split("."))
    return (place / "__init__.py").exists() or place.with_suffix(".py").exists()


def _among(module: str, names: frozenset[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)
