"""The house is laid out as it says: rooms are listed, come from this checkout, and introduce themselves."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_SHIPPED = {"benchmarks"}
"""Rooms with code that the wheel leaves out."""
NOT_LAYERED = {"benchmarks", "examples"}
"""Rooms that stand outside the layers: they may import anything, and no room imports them at its top."""


def rooms() -> list[str]:
    return sorted(p.parent.name for p in ROOT.glob("*/__init__.py") if p.parent.name != "tests")


def modules() -> list[Path]:
    return sorted(p for room in rooms() for p in (ROOT / room).rglob("*.py") if "__pycache__" not in p.parts)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("room", rooms())
def test_room_is_imported_from_this_checkout(room: str) -> None:
    package = importlib.import_module(room)

    assert package.__file__ is not None
    assert Path(package.__file__).resolve() == ROOT / room / "__init__.py"
    assert [Path(p).resolve() for p in package.__path__] == [ROOT / room]


def test_wheel_ships_every_room_but_the_benchmarks(project: dict[str, Any]) -> None:
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert set(shipped) == set(rooms()) - NOT_SHIPPED


def test_types_are_checked_in_every_room(project: dict[str, Any]) -> None:
    assert set(project["tool"]["mypy"]["packages"]) == set(rooms())


def test_layers_name_every_room(project: dict[str, Any]) -> None:
    linter = project["tool"]["importlinter"]
    layers = next(c for c in linter["contracts"] if c["type"] == "layers")["layers"]
    layered = {room.strip() for layer in layers for room in layer.split("|")}

    assert set(linter["root_packages"]) == set(rooms()) - NOT_LAYERED
    assert layered == set(rooms()) - NOT_LAYERED


@pytest.mark.parametrize("room", rooms())
def test_no_room_is_empty(room: str) -> None:
    assert any(p.parts[0] == room and p.name != "__init__.py" for p in (m.relative_to(ROOT) for m in modules()))


def test_every_module_says_what_it_is() -> None:
    silent = [str(m.relative_to(ROOT)) for m in modules() if not ast.get_docstring(ast.parse(m.read_text()))]

    assert silent == []


def test_tests_are_no_package() -> None:
    assert sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("__init__.py")) == []


def test_unit_tests_mirror_the_rooms() -> None:
    strangers = {p.name for p in (ROOT / "tests" / "unit").iterdir() if p.is_dir()} - set(rooms()) - {"__pycache__"}

    assert strangers == set()
