"""The build's own parts: what a module's imports amount to, pinned requirements, and the right interpreter."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BUILD = Path(__file__).resolve().parents[2] / "infra" / "build"
REQUIREMENTS = sorted((BUILD / "requirements").glob("*.txt"))

Write = Callable[[str, str], None]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of the build, which is scripts and no package."""

    def module(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, BUILD / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, made)
        spec.loader.exec_module(made)
        return made

    return module


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a module of a small repository, packages included."""

    def module(name: str, source: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.relative_to(tmp_path).parents:
            if folder != Path():
                (tmp_path / folder / "__init__.py").touch()
        path.write_text(source)

    return module


def test_imports_are_followed_wherever_they_stand(
    load: Callable[[str], ModuleType], write: Write, tmp_path: Path
) -> None:
    write("shell/app.py", "import json\nfrom rooms import facts\nfrom rooms.core import Thing\n")
    write(
        "rooms/facts.py",
        "def f():\n    import rooms.late\n    try:\n        import foreign.deep\n    except ImportError: ...\n",
    )
    write("rooms/core.py", "class Thing: ...\n")
    write("rooms/late.py", "")
    write("rooms/unused.py", "import nowhere\n")

    found = load("imports").closure(tmp_path, "shell.app", frozenset())

    assert [str(file.relative_to(tmp_path)) for file in found.files] == [
        "rooms/__init__.py",
        "rooms/core.py",
        "rooms/facts.py",
        "rooms/late.py",
        "shell/__init__.py",
        "shell/app.py",
    ]
    assert found.foreign == {"foreign.deep": "rooms/facts.py"}


def test_what_only_type_checkers_import_is_left_out(
    load: Callable[[str], ModuleType], write: Write, tmp_path: Path
) -> None:
    write("app.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stubs\nelse:\n    import real\n")

    assert set(load("imports").closure(tmp_path, "app", frozenset()).foreign) == {"real"}


def test_what_is_never_reached_is_not_followed(load: Callable[[str], ModuleType], write: Write, tmp_path: Path) -> None:
    write("app.py", "def f():\n    import rooms.heavy.part, other\n")
    write("rooms/heavy/part.py", "import foreign\n")

    found = load("imports").closure(tmp_path, "app", frozenset({"rooms.heavy", "other"}))

    assert [file.name for file in found.files] == ["app.py"]
    assert found.foreign == {}


@pytest.mark.parametrize("requirements", REQUIREMENTS, ids=lambda path: path.stem)
def test_every_requirement_is_pinned(requirements: Path) -> None:
    lines = [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]

    assert [line for line in lines if not re.fullmatch(r"-r aws\.txt|[a-z0-9-]+==[0-9][0-9a-z.]*", line)] == []


def test_functions_agree_on_versions() -> None:
    pins: dict[str, set[str]] = {}
    for requirements in REQUIREMENTS:
        for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)$", requirements.read_text(), re.MULTILINE):
            pins.setdefault(name, set()).add(version)

    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


def test_bytecode_is_made_by_the_version_that_runs_it(load: Callable[[str], ModuleType]) -> None:
    bytecode = load("bytecode")
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"

    assert bytecode.find_interpreter(ours) == sys.executable
    bytecode.check_interpreter(sys.executable, ours)
    with pytest.raises(ValueError, match=r"not Python 3\.99"):
        bytecode.check_interpreter(sys.executable, "3.99")
    with pytest.raises(ValueError, match="no interpreter"):
        bytecode.check_interpreter("/no/such/python", ours)


def test_an_interpreter_that_refuses_is_passed_over(
    load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert load("bytecode").find_interpreter("3.99") is None


def test_an_interpreter_that_pyenv_keeps_is_found(
    load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    for release, answer in (("3.99.2", "3.99"), ("3.99.10", "broken")):
        kept = tmp_path / "versions" / release / "bin" / "python3.99"
        kept.parent.mkdir(parents=True)
        kept.write_text(f"#!/bin/sh\necho {answer}\n")
        kept.chmod(0o755)

    assert load("bytecode").find_interpreter("3.99") == str(tmp_path / "versions" / "3.99.2" / "bin" / "python3.99")
