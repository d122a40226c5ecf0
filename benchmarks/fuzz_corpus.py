"""Requests in bad faith, drawn from a seed: broken bodies, tensors, paths, heads and bytes; it sends nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import NamedTuple
from urllib.parse import quote

from benchmarks.fuzz_bodies import BODIES, JSON, large, small
from benchmarks.fuzz_bytes import RAW
from benchmarks.fuzz_home import TASKS
from gateway.http.openapi import OPERATIONS

BYTES = "bytes"
"""The operation of what is no request of any."""

RUN_S = 30.0
"""Longest that an answer may take where the caller names no strict bound: every tier's timeout."""

READ_S = 10.0
"""The same where nothing runs: as generous as a machine that is shared needs."""

RUNS = frozenset({"predict", "infer"})

ANSWERED, LARGE_ONES = 3000, 16
"""More answers than a gateway's log of decisions holds, and large bodies of each kind, which are read at once."""

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
            yield Case(BYTES, random.choice(RAW)(random), READ_S, whole=False)
    method, path = next((o.method.upper(), o.path) for o in OPERATIONS if o.name == operation)
    make = BODIES.get(operation, small)
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
        raw = request("POST", f"/v1/tasks/rows/{operation}", JSON, large(b"0"))
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
