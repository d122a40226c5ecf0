"""What runs here is what `make build` made: the same files, but for machine code and what says which machine it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.deployed import deployed

ROOT = Path(__file__).resolve().parents[2]
BUILT, HERE = ROOT / ".aws-sam" / "build", ROOT / ".aws-sam" / "here"
MACHINE_CODE = (".so", ".pyc")
CONFIGURATIONS = {"numpy/__config__.py"}
"""Written when a wheel is compiled, to say how."""

FUNCTIONS = {
    name: resource["Properties"]["Handler"].split(".")[1]
    for name, resource in deployed(ROOT / "template.yaml")["Resources"].items()
    if resource["Type"] == "AWS::Lambda::Function"
}


def code(root: Path) -> dict[str, bytes]:
    """Every file of an artefact that any machine would read alike, by its path in it."""
    return {
        name: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
        and not any(part.endswith(".dist-info") for part in path.parts)
        and not any(suffix in MACHINE_CODE for suffix in path.suffixes)
        and (name := str(path.relative_to(root))) not in CONFIGURATIONS
    }


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_what_is_run_is_what_is_built(function: str) -> None:
    built, here = code(BUILT / function), code(HERE / FUNCTIONS[function])

    assert built, f"{BUILT / function} holds nothing: make build"
    assert sorted(built) == sorted(here)
    assert [name for name, content in built.items() if here[name] != content] == []
