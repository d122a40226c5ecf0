"""Bytes in bad faith, drawn at random: what is no HTTP request, ends early, or is read in two ways."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

TARGETS = ("*", "http://other/healthz", "//healthz", "", "/\\x", "/healthz\t")

BODY = b'{"inputs": [[1, 2, 3, 4]]}'


def _head(*lines: str, first: str = "POST /v1/tasks/rows/predict HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: fuzz", *lines, "", ""]).encode("latin-1")


RAW: tuple[Callable[[Random], bytes], ...] = (
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
