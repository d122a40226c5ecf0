"""Requests in bad faith, drawn from a seed: broken bodies, tensors, paths, heads and bytes; it sends nothing."""

from __future__ import annotations

import base64
import copy
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from benchmarks.fuzz_home import TASKS, rows
from gateway.http.openapi import OPERATIONS

BYTES = "bytes"
"""The operation of what is no request of any."""

RUN_S = 30.0
"""Longest that an answer may take where the caller names no strict bound: every tier's timeout."""

READ_S = 10.0
"""The same where nothing runs: as generous as a machine that is shared needs."""

RUNS = frozenset({"predict", "infer"})


class Case(NamedTuple):
    """One request as it is sent."""

    operation: str
    raw: bytes
    within_s: float
    """Most seconds from the last byte sent to the last one received."""
    whole: bool = True
    """Whether it is an HTTP request that must be answered; any other may also be met by the connection's end."""


def cases(operation: str, random: Random) -> Iterator[Case]:
    """Hostile requests of one operation (or BYTES) without end; the same seed draws the same ones."""
    if operation == BYTES:
        while True:
            yield Case(BYTES, random.choice(_RAW)(random), READ_S, whole=False)
    method, path = next((o.method.upper(), o.path) for o in OPERATIONS if o.name == operation)
    make = _BODIES.get(operation, _small)
    while True:
        task = random.choice(TASKS).name
        headers, body = make(task, random)
        target = _path(path, task, random) + (_query(random) if operation == "frontier" or _rarely(random) else "")
        method_sent = random.choice(METHODS) if random.random() < 0.03 else method
        if method_sent == "HEAD":  # its answer says the length of a body that does not follow
            method_sent = method
        if random.random() < 0.3:
            headers = {**headers, **dict(random.sample(HEADERS, random.randint(1, 3)))}
        yield Case(operation, request(method_sent, target, headers, body), within_s(operation, body))


def warming(random: Random) -> Iterator[Case]:
    """What fills every log and cache that is bounded, and makes room for the largest bodies: no part of what counts."""
    for _ in range(ANSWERED):
        body = json.dumps({"inputs": [[random.random()] * 4] * 64}).encode()
        yield Case("predict", request("POST", "/v1/tasks/rows/predict", JSON, body), RUN_S)
    for operation in ("predict", "plan", "feedback") * LARGE_ONES:
        raw = request("POST", f"/v1/tasks/rows/{operation}", JSON, _large(b"0"))
        yield Case(operation, raw, RUN_S)


def request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a request whose length is said rightly."""
    lines = [f"{method} {target} HTTP/1.1", "Host: fuzz", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def within_s(operation: str, body: bytes) -> float:
    """How long the answer may take: a strict caller's bound, or the tier's timeout; little where nothing runs."""
    if operation not in RUNS:
        return READ_S
    try:
        slo = json.loads(body)["slo"]
        bound, strict = slo["latency_ms"], slo["on_infeasible"] == "strict"
    except (ValueError, KeyError, TypeError, RecursionError):
        return RUN_S
    return min(bound / 1000, RUN_S) if strict and type(bound) in (int, float) and bound > 0 else RUN_S


# ------------------------------------------------------------------------------------------------------- bodies

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

ANSWERED, LARGE_ONES = 3000, 16
"""More answers than a gateway's log of decisions holds, and large bodies of each kind, which are read at once."""

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
        return _large(text)
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


def _large(last: bytes) -> bytes:
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


def _small(task: str, random: Random) -> tuple[dict[str, str], bytes]:
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

_BODIES: Mapping[str, Callable[[str, Random], tuple[dict[str, str], bytes]]] = {
    "predict": _predict,
    "submitJob": _predict,
    "plan": _plan,
    "feedback": _feedback,
    "infer": _infer,
}

# ------------------------------------------------------------------------------------------ paths, queries and heads

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "HEAD")

PATHS = (
    *("..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "%ff%fe", "%ed%a0%80", "%zz", "%", "a" * 5000, "%20"),
    *("rows%2fpredict", "rows;a=b", "rows%0d%0aX-A:%20b", "é", "日本", "*", "-1", "0", "null", "None", "[]", "{task}"),
)

QUERIES = (
    *(
        "rows=1",
        "rows=0",
        "rows=-1",
        "rows=1e3",
        "rows=999999999",
        "rows=9999999999",
        "rows=٣",
        "rows=",
        "rows=1&rows=x",
    ),
    *(
        "start=cold",
        "start=hot",
        "tier=inline",
        "tier=%00",
        "tier=" + "a" * 3000,
        "colour=red",
        "rows[]=1",
        "&&&",
        "=",
        "%",
    ),
    *("a" * 8000, "%ff=%fe", "rows=%ed%a0%80", "start=cold&tier=inline&rows=64"),
)

HEADERS = (
    ("Authorization", "Bearer "),
    ("Authorization", "Bearer " + "k" * 9000),
    ("Authorization", "Basic YTpi"),
    ("X-API-Key", "é"),
    ("X-Request-Id", "a" * 129),
    ("X-Request-Id", "<script>"),
    ("Content-Type", "text/html; charset=utf-16"),
    ("Content-Type", "multipart/form-data; boundary="),
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "identity, br"),
    ("Accept", "text/" + "a" * 4000),
    ("Accept-Encoding", "gzip;q=x"),
    ("Cookie", "a=b; " * 500),
    ("Range", "bytes=0-"),
    ("If-Match", "*"),
    ("Origin", "null"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("Idempotency-Key", "\x80" * 10),
    ("Inference-Header-Content-Length", "5"),
    ("traceparent", "00-zz-zz-zz"),
    ("Connection", "close"),
)


def _rarely(random: Random) -> bool:
    return random.random() < 0.05


def _path(template: str, task: str, random: Random) -> str:
    """The path with its parameter filled in, mostly rightly."""
    wrong = random.random() < 0.15
    filled = quote(random.choice(PATHS), safe="%;*[]{}") if wrong else task
    for part in ("{task}", "{model}", "{id}"):
        template = template.replace(part, filled)
    return template + ("/" if _rarely(random) else "")


def _query(random: Random) -> str:
    return "?" + "&".join(quote(q, safe="=&%[]") for q in random.sample(QUERIES, random.randint(1, 3)))


# ----------------------------------------------------------------------------------------------------- raw bytes

TARGETS = ("*", "http://other/healthz", "//healthz", "", "/\\x", "/healthz\t")

BODY = b'{"inputs": [[1, 2, 3, 4]]}'


def _head(*lines: str, first: str = "POST /v1/tasks/rows/predict HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: fuzz", *lines, "", ""]).encode("latin-1")


_RAW: tuple[Callable[[Random], bytes], ...] = (
    lambda r: r.randbytes(r.randint(1, 400)),
    lambda r: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + r.randbytes(200),  # the beginning of TLS
    lambda r: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    lambda r: _head("Content-Length: 5", "Content-Length: 6") + b"[1, 2]",
    lambda r: _head("Content-Length: 26", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + BODY,
    lambda r: _head("Transfer-Encoding: chunked") + b"FFFFFFFFFFFFFFFFF\r\n" + BODY,
    lambda r: _head("Transfer-Encoding: chunked") + b"-5\r\n" + BODY,
    lambda r: (
        _head("Transfer-Encoding: chunked") + b"1a;" + b"x" * r.choice((10, 20_000)) + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
    ),
    lambda r: _head("Transfer-Encoding: xchunked") + BODY,
    lambda r: (
        _head("Transfer-Encoding: chunked") + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\nA: b\r\n\r\n"
    ),
    lambda r: _head(f"Content-Length: {r.choice(('-1', '+26', '0x1a', '9' * 30, '1e2', '26 26', ''))}") + BODY,
    lambda r: _head(f"Content-Length: {len(BODY) + r.randint(1, 100)}") + BODY,
    lambda r: _head(f"Content-Length: {r.choice((17 * 2**20, 2**40, 2**63))}") + BODY,
    lambda r: _head("Expect: 100-continue", f"Content-Length: {len(BODY)}") + BODY,
    lambda r: _head("Expect: something", f"Content-Length: {len(BODY)}") + BODY,
    lambda r: _head("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"),
    lambda r: _head(*(f"X-{i}: {'v' * 100}" for i in range(r.choice((100, 900))))),
    lambda r: _head("X-Long: " + "v" * r.choice((9000, 66_000, 200_000))),
    lambda r: _head("X-Folded: a\r\n b", " leading: space", "No-Colon", ": empty", "X\x00Y: z", "X: a\x00b"),
    lambda r: _head(first=f"GET {r.choice(TARGETS)} HTTP/1.1"),
    lambda r: _head(first=f"GET /healthz HTTP/{r.choice(('0.9', '1.0', '1.2', '2.0', '9' * 20, 'x'))}"),
    lambda r: _head("X-API-Key: \x7f", f"Content-Length: {len(BODY)}") + BODY,
    lambda r: _head(first="CONNECT 127.0.0.1:22 HTTP/1.1"),
    lambda r: _head(first="GET /" + "a" * r.choice((9000, 70_000)) + " HTTP/1.1"),
    lambda r: b"GET /healthz HTTP/1.1\nHost: fuzz\n\n",
    lambda r: b"GET /healthz\r\n\r\n",
    lambda r: b"\r\n" * r.choice((1, 1000)) + _head(first="GET /healthz HTTP/1.1"),
    lambda r: _head(first="GET /healthz HTTP/1.1") * r.randint(2, 30),
    lambda r: _head(f"Content-Length: {len(BODY)}")[: r.randint(1, 60)],
    lambda r: (whole := _head(f"Content-Length: {len(BODY)}") + BODY)[: r.randrange(1, len(whole))],
    lambda r: bytes(
        b ^ (1 << r.randrange(8)) if r.random() < 0.02 else b for b in _head(f"Content-Length: {len(BODY)}") + BODY
    ),
)
"""What is no request, or one that ends early, or one that is read in two ways."""
