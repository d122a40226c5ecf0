"""Bodies in bad faith, drawn at random: JSON, tensors and images that are damaged, or promise what they are not."""

from __future__ import annotations

import base64
import copy
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import numpy as np

from benchmarks.fuzz_home import TASKS, rows

TEXTS = (
    "",
    "\x00",
    "\ud800",
    "a" * 70_000,
    "\u202e\u0000\uffff\U0010ffff",
    "../../../../etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/",
    "s3://other-bucket/key",
    "${jndi:ldap://127.0.0.1/a}",
    "'; DROP TABLE heads; --",
    "%00%2e%2e%2f",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "__proto__",
    "NaN",
    "1e999",
    "strict",
    "rows",
)

NUMBERS: tuple[Any, ...] = (
    *(0, -0.0, -1, 1, 1e-320, 1e308, -1e308, 3.4e39, 0.5, 99.9, 100, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1),
    *(10**400, float("nan"), float("inf"), -float("inf"), True, False, None),
)

LARGE_ROWS, LARGE_SHARE = 400_000, 0.02
"""Of the texts that are damaged, so many hold two million numbers in 4 MB: what they took must be given back."""

DEEP = 1500
"""Lists in lists: more than a recursive reader of JSON takes, and than any tensor has axes."""


def _hostile(random: Random) -> Any:
    """One value that belongs nowhere."""
    kind = random.randrange(9)
    if kind < 3:
        return random.choice(NUMBERS)
    if kind < 5:
        return random.choice(TEXTS)
    return (
        lambda: _deep(random.choice((2, 17, 200))),
        lambda: [0.0] * random.choice((0, 1, 3, 5, 4000)),
        lambda: random.choice(({}, [], [[]], [{}], {"": {}}, {"a": None})),
        lambda: {"image_b64": _image(random)},
    )[kind - 5]()


def _deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def _mutated(document: Any, random: Random) -> Any:
    """A JSON value with one to three places changed."""
    document = copy.deepcopy(document)
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        holder, key = random.choice(list(_places(document)) or [(None, None)])
        if holder is None:
            return _hostile(random)
        change = random.random()
        if change < 0.65:
            holder[key] = _hostile(random)
        elif change < 0.8:
            del holder[key]
        elif isinstance(holder, dict):
            holder[random.choice(TEXTS)[:300]] = _hostile(random)
        else:
            holder.insert(random.randrange(len(holder) + 1), _hostile(random))
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) of a JSON value that is not deep."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


def _text(document: Any, random: Random) -> bytes:
    """A JSON text, and now and then one that is none."""
    text = json.dumps(document, ensure_ascii=random.random() < 0.8).encode("utf-8", "surrogatepass")
    if random.random() < 0.85:
        return text
    at = random.randrange(len(text) + 1)
    if random.random() < LARGE_SHARE:
        return large(text)
    return random.choice(
        (
            text[:at],
            text + text,
            text[:at] + bytes([random.randrange(256)]) + text[at:],
            text[:at] + random.randbytes(8) + text[at + 8 :],
            b"\xef\xbb\xbf" + text,
            text.decode("utf-8", "replace").encode("utf-16"),
            b"[" * DEEP + text,
            b'{"a":' * DEEP + text + b"}" * DEEP,
            text.replace(b"0", b"1e999", 1),
            text.replace(b"{", b'{"slo":{},"slo":null,', 1),
            b" " * 4096 + text,
            b"",
        )
    )


def large(last: bytes) -> bytes:
    """A body of LARGE_ROWS rows of inputs, and then this."""
    return b'{"inputs":[' + b"[1,2,3,4]," * LARGE_ROWS + last + b"]}"


SLO = {
    "latency_ms": 1000,
    "percentile": 95,
    "min_accuracy": 0.0,
    "max_cost_usd": 1,
    "objective": "effective_accuracy",
    "on_infeasible": "best_effort",
}


def _inputs(task: str, random: Random) -> Any:
    """What a task takes, as JSON."""
    many = random.choice((1, 1, 2, 64))
    if task == "rows":
        values: Any = [[random.choice((0.0, 1.5, -3e3))] * 4 for _ in range(many)]
    elif task == "words":
        values = [random.choice(("cat", "dog", "bird", "é")) for _ in range(many)]
    elif random.random() < 0.7:
        return [{"image_b64": _image(random)} for _ in range(min(many, 3))]
    else:
        values = [[[random.randrange(256)] * 8 for _ in range(8)] for _ in range(many)]
    name = next(t for t in TASKS if t.name == task).inputs[0].name
    return values if random.random() < 0.5 else {name: values}


def _predict(task: str, random: Random) -> tuple[dict[str, str], bytes]:
    document: dict[str, Any] = {"inputs": _inputs(task, random)}
    if random.random() < 0.5:
        document["slo"] = dict(random.sample(list(SLO.items()), random.randint(1, len(SLO))))
    if random.random() < 0.2:
        document["id"] = "fuzz-1"
    return JSON, _text(_mutated(document, random), random)


def _plan(task: str, random: Random) -> tuple[dict[str, str], bytes]:
    return JSON, _text(_mutated({"slo": dict(SLO), "rows": random.choice((1, 2, 64, 65))}, random), random)


def _feedback(task: str, random: Random) -> tuple[dict[str, str], bytes]:
    document = {"decision_id": f"{random.getrandbits(128):032x}", "expected": [0, 1]}
    return JSON, _text(_mutated(document, random), random)


def small(task: str, random: Random) -> tuple[dict[str, str], bytes]:
    """Where no body belongs, mostly none."""
    return ({}, b"") if random.random() < 0.8 else (JSON, _text(_hostile(random), random))


def _infer(task: str, random: Random) -> tuple[dict[str, str], bytes]:
    """JSON or binary tensors whose sizes, types and lengths may lie."""
    spec = next(t for t in TASKS if t.name == task).inputs[0]
    many = random.choice((1, 2, 32))
    array = rows(next(t for t in TASKS if t.name == task))[spec.name][:many]
    tensor: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape)}
    document: dict[str, Any] = {"inputs": [tensor], "parameters": {"latency_ms": 1000}}
    if random.random() < 0.3:
        document["outputs"] = [{"name": "label", "parameters": {"binary_data": random.random() < 0.5}}]
    if random.random() < 0.4:
        tensor["data"] = [v.decode() for v in array] if spec.datatype == "BYTES" else array.ravel().tolist()
        return JSON, _text(_mutated(document, random), random)
    data = b"".join(struct.pack("<I", len(v)) + v for v in array) if spec.datatype == "BYTES" else array.tobytes()
    tensor["parameters"] = {"binary_data_size": len(data)}
    head = _text(_mutated(document, random), random) if random.random() < 0.5 else json.dumps(document).encode()
    if random.random() < 0.5:
        data = _damaged(data, random)
    length = str(len(head)) if random.random() < 0.8 else random.choice(LENGTHS)
    return {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": length}, head + data


LENGTHS = ("0", "-1", "1e3", "99999999999999999999", "0x10", "٣", "", " 5", "5, 6", "1")


def _damaged(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return random.choice(
        (
            data[:at],
            data + data,
            data[:at] + random.randbytes(4) + data[at + 4 :],
            struct.pack("<I", 2**32 - 1) + data[4:],
            np.full(len(data) // 4, np.nan, np.float32).tobytes(),
        )
    )


def _image(random: Random) -> str:
    """A PNG, whole, damaged or promising more than there is, as base64."""
    width, height = random.choice(((8, 8), (8, 8), (8, 8), (0, 0), (1, 1), (60_000, 60_000), (2**31 - 1, 8)))
    made = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, content)
        for kind, content in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            (
                b"zTXt",
                b"a\0\0" + zlib.compress(bytes(100_000)) if random.random() < 0.1 else b"a\0\0" + zlib.compress(b""),
            ),
            (b"IDAT", zlib.compress(bytes([0, *[7] * 8] * 8))),
            (b"IEND", b""),
        )
    )
    if random.random() < 0.3:
        made = _damaged(made, random)
    if random.random() < 0.1:
        made = random.choice((b"GIF89a" + bytes(20), b"\xff\xd8\xff\xe0" + bytes(40), b"<svg/>", b"II*\0" + bytes(40)))
    text = base64.b64encode(made).decode()
    return (
        text if random.random() < 0.9 else text[: random.randrange(len(text) + 1)] + random.choice(("", "=", "!", "\n"))
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


JSON = {"Content-Type": "application/json"}

BODIES: Mapping[str, Callable[[str, Random], tuple[dict[str, str], bytes]]] = {
    "predict": _predict,
    "submitJob": _predict,
    "plan": _plan,
    "feedback": _feedback,
    "infer": _infer,
}
