"""A socket that listens, as every server of ours opens it; accepts nothing."""

from __future__ import annotations

import os
import socket

from registry.errors import InvalidValue

BACKLOG = 2048
"""Connections that wait to be accepted."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; connections wait in its backlog. Raises InvalidValue when the address is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InvalidValue(
            "port", f"cannot listen on {host}:{port}: {reason}", "choose another; 0 takes a free one"
        ) from None
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a listener is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
