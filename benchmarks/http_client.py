"""The thinnest HTTP/1.1 client that is right for one persistent connection: what is measured is the server."""

from __future__ import annotations

import socket
from typing import Self
from urllib.parse import urlsplit


class HttpClient:
    """One connection that sends the same kind of request again and again; responses must carry Content-Length."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host = f"{parts.hostname}:{parts.port}"
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, path: str, body: bytes) -> bytes:
        """The bytes of a POST, to be sent with `send` as often as wanted."""
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def send(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer; raises RuntimeError unless the status is 200."""
        self._socket.sendall(request)
        received = self._socket.recv(65536)
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = received[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else None])
        parts, have = [received[end + 4 :]], len(received) - end - 4
        while have < length:
            parts.append(self._more())
            have += len(parts[-1])
        body = b"".join(parts)
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{head.splitlines()[0]!r}: {body[:300]!r}")
        return body

    def _more(self) -> bytes:
        chunk = self._socket.recv(1 << 20)
        if not chunk:
            raise RuntimeError("the server closed the connection")
        return chunk
