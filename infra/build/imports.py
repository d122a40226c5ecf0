"""Finds what an artefact's own code imports and the artefact lacks; reads source only, so any machine's can be checked.

Imports inside functions count too: they would fail later, on a request. Those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path


def missing_imports(artifacts: Path, repository: Path, sources: list[Path], provided: frozenset[str]) -> list[str]:
    """`file: module` for each module that `sources` import and neither artefact, runtime nor `provided` has."""
    faults: set[str] = set()
    for source in sources:
        for module, names in _imports(ast.parse(source.read_text())):
            if module.partition(".")[0] in sys.stdlib_module_names:
                continue
            # Of `from package import name`, the name is a module if the repository has a module of that name.
            wanted = [module, *(f"{module}.{name}" for name in names if _exists(repository, f"{module}.{name}"))]
            faults |= {
                f"{source.relative_to(artifacts)}: {name}"
                for name in wanted
                if not _exists(artifacts, name) and not {name, name.partition(".")[0]} & provided
            }
    return sorted(faults)


def _imports(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Each imported module with the names taken from it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from _imports(other)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, [alias.name for alias in node.names]
        else:
            yield from _imports(node)


def _exists(root: Path, module: str) -> bool:
    place = root.joinpath(*module.split("."))
    return place.is_dir() or place.with_suffix(".py").exists() or any(place.parent.glob(f"{place.name}.*.so"))
