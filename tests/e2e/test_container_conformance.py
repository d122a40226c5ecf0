"""The container against the protocol's published OpenAPI document: what it says is answered, what it forbids refused.

The document comes from a published wheel whenever it is not cached yet, and schemathesis reads it in an environment of
its own, for it pins libraries that we do not.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = "mlserver==1.7.1"
"""Its wheel carries the protocol's document; it is Apache-2.0, and stays out of this repository."""

DOCUMENT = "mlserver/rest/openapi/dataplane.json"
SCHEMATHESIS = "schemathesis==4.32.5"
EXAMPLES = 50
"""Fuzzed requests of each operation, beside those that cover each of its constraints."""

UNREACHABLE = ("ConnectionError", "NewConnectionError", "NameResolutionError", "ConnectTimeout", "ProxyError")
"""What pip says when it cannot reach its index."""


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """The document as published."""
    folder = ROOT / ".cache" / "protocol"
    folder.mkdir(parents=True, exist_ok=True)
    name, _, version = PUBLISHED.partition("==")
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wheel.exists():
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, PUBLISHED]
            done = subprocess.run(pip, capture_output=True, text=True, check=False)
            if done.returncode and any(word in done.stderr for word in UNREACHABLE):
                pytest.skip(f"{PUBLISHED} is not cached, and the package index cannot be reached")
            assert done.returncode == 0, done.stderr
    return dict(json.loads(zipfile.ZipFile(wheel).read(DOCUMENT)))


@pytest.fixture
def document(published: dict[str, Any]) -> dict[str, Any]:
    """What is published, made exact for `double`: the document knows neither its name nor what it takes.

    Without that, nearly every request that obeys it would be refused for an unknown model or tensor, and nearly every
    one that breaks it as well: neither would say a thing.
    """
    # The publisher's own, beyond the protocol.
    ours = {p: item for p, item in published["paths"].items() if not p.endswith(("_stream", "/generate"))}
    refused = published["paths"]["/v2/models/{model_name}"]["get"]["responses"]["404"]
    for path, item in ours.items():
        for parameter in item.get("parameters", []):
            parameter["schema"]["enum"] = [{"model_name": "double", "model_version": "1"}[parameter["name"]]]
        if path.endswith("/ready") and "model_name" in path:
            # It lists success alone; the protocol's text has 4xx with an error for a model that is not there.
            item["get"]["responses"]["404"] = refused
        if "post" in item:
            # That a request needs a body goes without saying there, for the body's schema requires inputs.
            item["post"]["requestBody"]["required"] = True
            # Of Triton's extensions it knows nothing: outputs in binary, and deadlines that cannot be held.
            item["post"]["responses"]["200"]["content"]["application/octet-stream"] = {}
            item["post"]["responses"] |= {"429": refused, "504": refused}
    schemas = published["components"]["schemas"]
    schemas["InferenceRequest"] = _request()
    # "bytes" is no type of JSON Schema, and JSON has none.
    schemas["TensorData"] = {"type": "array"}
    return published | {"paths": ours}


def _request() -> dict[str, Any]:
    """What `double` takes; null stands for absent, as clients write it."""
    hints = {
        "timeout": {"type": "number", "minimum": 0, "maximum": 1e12},
        "latency_ms": {"type": "number", "minimum": 0, "maximum": 1e8},
        "priority": {"type": "integer", "minimum": 0, "maximum": 99},
        "min_accuracy": {"enum": [0]},
        "artifact": {"type": "string"},
        "binary_data_output": {"type": "boolean"},
    }
    output = {"name": {"enum": ["y"]}, "parameters": _parameters(binary_data={"type": "boolean"})}
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "nullable": True},
            "parameters": _parameters(**hints),
            "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"oneOf": [_tensor(1), _tensor(3)]}},
            "outputs": {
                "type": "array",
                "nullable": True,
                "items": {"type": "object", "required": ["name"], "properties": output},
            },
        },
    }


def _tensor(rows: int) -> dict[str, Any]:
    """The input of `double` with so many rows, flat."""
    number = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
    return {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"enum": ["x"]},
            "shape": {"enum": [[rows, 4]]},
            "datatype": {"enum": ["INT32"]},
            "parameters": _parameters(),
            "data": {"type": "array", "items": number, "minItems": 4 * rows, "maxItems": 4 * rows},
        },
    }


def _parameters(**known: Any) -> dict[str, Any]:
    """The protocol's text: strings, numbers or booleans."""
    scalar = {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
    return {"type": "object", "nullable": True, "properties": known, "additionalProperties": scalar}


def test_schemathesis_finds_nothing(
    document: dict[str, Any], container: Any, environment: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "document.json").write_text(json.dumps(document))
    # Without the stateful phase: the document links no operations, and none keeps what another made.
    options = ["--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--no-color"]
    command = [environment(SCHEMATHESIS) / "bin" / "schemathesis", "run", "document.json", "--url", container.url]
    done = subprocess.run(
        [*command, *options, "--max-examples", str(EXAMPLES), "--continue-on-failure"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 9" in done.stdout
    # A run in which everything was refused would say nothing.
    (counted,) = httpx.get(f"{container.url}/v2/models/double/stats").json()["model_stats"]
    assert counted["inference_stats"]["success"]["count"] > EXAMPLES


@pytest.fixture(scope="module")
def http(container: Any) -> Any:
    with httpx.Client(base_url=container.url, timeout=30) as client:
        yield client


def body(**changes: Any) -> dict[str, Any]:
    """A request that `scale` answers, changed."""
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]} | changes


def tensor(**changes: Any) -> dict[str, Any]:
    """A request whose tensor is changed; a change to None removes the key."""
    changed = body()["inputs"][0] | changes
    return {"inputs": [{key: value for key, value in changed.items() if value is not None}]}


WRONG: dict[str, Any] = {
    "nothing": b"",
    "cut off": b"{",
    "not UTF-8": b"\xff",
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "too deep": b"[" * 100_000,
    "no inputs": body(inputs=[]),
    "inputs of another type": body(inputs={}),
    "an input twice": body(inputs=body()["inputs"] * 2),
    "an id that is a number": body(id=7),
    "an unknown output": body(outputs=[{"name": "nothing"}]),
    "an output without a name": body(outputs=[{}]),
    "a parameter that is an object": body(parameters={"deep": {}}),
    "a timeout below 0": body(parameters={"timeout": -1}),
    "an accuracy above 1": body(parameters={"min_accuracy": 2}),
    "a priority that is a word": body(parameters={"priority": "soon"}),
    "an artifact that is no string": body(parameters={"artifact": False}),
    "an unknown input": tensor(name="z"),
    "an input without a name": tensor(name=None),
    "another datatype": tensor(datatype="FP64"),
    "an unknown datatype": tensor(datatype="COMPLEX"),
    "another rank": tensor(shape=[4]),
    "a shape unlike the data": tensor(shape=[2, 4]),
    "no rows": tensor(shape=[0, 4], data=[]),
    "an extent below 0": tensor(shape=[-1, 4]),
    "a huge extent": tensor(shape=[2**40, 4]),
    "no data": tensor(data=None),
    "strings": tensor(data=["a", "b", "c", "d"]),
    "ragged lists": tensor(data=[[1, 2, 3], [4]]),
    "a number out of range": tensor(data=[1, 2, 3, 1e300]),
    "binary data that is not there": tensor(data=None, parameters={"binary_data_size": 16}),
}


@pytest.mark.parametrize("sent", WRONG.values(), ids=list(WRONG))
def test_a_body_that_is_wrong_is_refused_with_the_reason(http: httpx.Client, sent: Any) -> None:
    content = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    answer = http.post("/v2/models/scale/infer", content=content)

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.json()["error"]) > 10


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nothing", 404),
        ("GET", "/v2/models/scale/versions/3", 404),
        ("GET", "/v2/models/nothing/ready", 404),
        ("POST", "/v2/models/nothing/infer", 404),
        ("POST", "/v2/models/scale/versions/3/infer", 404),
        ("GET", "/v2/models/..%2F..%2Fetc", 404),
        ("GET", "/v2/nowhere", 404),
        ("DELETE", "/v2", 405),
        ("GET", "/v2/models/scale/infer", 405),
    ],
)
def test_what_is_not_there_says_so(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path, json=body() if method == "POST" else None)

    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)
    assert status != 405 or answer.headers["allow"]


def test_what_is_optional_may_be_left_out_or_null(http: httpx.Client) -> None:
    bare = http.post("/v2/models/scale/versions/2/infer", json=body()).json()
    null = http.post("/v2/models/scale/versions/2/infer", json=body(id=None, parameters=None, outputs=None)).json()

    for answer in (bare, null):
        assert (answer["model_name"], answer["model_version"]) == ("scale", "2")
        assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2, 4, 6, 8]}]
        assert "id" not in answer


def test_the_id_is_echoed_and_answers_say_how_they_were_made(http: httpx.Client) -> None:
    answer = http.post("/v2/models/scale/versions/1/infer", json=body(id="4 2")).json()

    assert answer["id"] == "4 2"
    assert answer["parameters"].keys() >= {"variant", "threads", "batch", "queue_ms", "run_ms", "loaded"}
    assert all(isinstance(value, str | int | float | bool) for value in answer["parameters"].values())
