"""Cases that schemathesis draws from the API's own document, in an environment of its own; it sends nothing."""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.fuzz_corpus import Case, request, within_s
from benchmarks.fuzz_home import TASKS
from gateway.http import openapi

REQUIREMENT = "schemathesis==4.32.5"

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = ROOT / "benchmarks" / "peer_apps" / "schemathesis_cases.py"

UNSENT = frozenset({"content-length", "host", "transfer-encoding"})
"""Headers that whoever sends the request says himself."""


def drawn(folder: Path, most: int) -> list[Case]:
    """Up to `most` cases that obey the document and as many that break it, of each operation."""
    document = folder / "document.json"
    document.write_text(json.dumps(_exact(openapi.document("0"))))
    command = [str(_environment() / "bin" / "python"), str(PROGRAM), str(document), str(most)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=folder)
    return list(_cases(done.stdout.splitlines()))


def _cases(lines: list[bytes]) -> Iterator[Case]:
    for line in lines:
        drawn = json.loads(line)
        body = base64.b64decode(drawn["body"])
        headers = {name: value for name, value in drawn["headers"].items() if name.lower() not in UNSENT}
        raw = request(drawn["method"], drawn["target"], headers, body)
        yield Case(drawn["operation"], raw, within_s(drawn["operation"], body))


def _exact(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the tasks' names in it: nearly every request would be of an unknown one otherwise."""
    exact = copy.deepcopy(dict(document))
    names = {"anyOf": [{"enum": [task.name for task in TASKS]}, {"type": "string"}]}
    for path in exact["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path" and parameter["name"] != "id":
                    parameter["schema"] = names
    rows = {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}}
    inputs = exact["components"]["schemas"]["PredictRequest"]["properties"]["inputs"]
    inputs["anyOf"] = [rows, *inputs["anyOf"]]
    return exact


def _environment() -> Path:
    """The folder of schemathesis's environment, made once."""
    folder = ROOT / ".cache" / REQUIREMENT.replace("==", "-")
    done = folder / ".installed"
    if not done.exists():
        print(f"installing {REQUIREMENT} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-qq", REQUIREMENT], check=True)
        done.touch()
    return folder
