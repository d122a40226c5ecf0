"""Which requests pages of other sites had a browser send, as the browser itself tells; never who anybody is.

A page can have its reader's browser send requests to servers that only the reader's machine reaches. Browsers name the
page's origin then (Fetch, "`Origin` header"); and where a site's own name was turned to this machine's address (DNS
rebinding), the request is for that name and not for one of this machine's.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from runtime.errors import CrossSite

KEPT = 64
"""Most hosts that were found to be this machine's and are remembered: beside each name there is a port."""


class SameSite:
    """The check of one server's requests."""

    def __init__(self, host: str, address: str) -> None:
        """The name under which the server was told to listen, and the address that this was."""
        self._host = host.lower()
        self._local = is_loopback(address)
        self._known: set[bytes] = set()

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise CrossSite for a request of another site's page; headers are by lower-case name."""
        host = headers.get(b"host")
        if self._local and host and host not in self._known:
            self._check_host(host)
        origin = headers.get(b"origin")
        if origin is not None and (not host or origin.partition(b"://")[2].lower() != host.lower()):
            asked = _shown(host or b"nobody")
            raise CrossSite(f"a page of {_shown(origin)} asks {asked}; other sites are not answered")

    def _check_host(self, host: bytes) -> None:
        name = _name(host)
        if name != self._host and not is_loopback(name):
            raise CrossSite(
                f"{_shown(host)} is no name of this machine, and nothing else is listened to; ask localhost, or have "
                "--host say where else to listen"
            )
        if len(self._known) < KEPT:
            self._known.add(host)


def is_loopback(name: str) -> bool:
    """Whether a name or address is of the machine itself, whoever resolves it."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    for family, begins in ((socket.AF_INET, b"\x7f"), (socket.AF_INET6, bytes(15) + b"\x01")):
        try:
            return socket.inet_pton(family, name).startswith(begins)
        except (OSError, ValueError):
            continue
    return False


def _name(host: bytes) -> str:
    """The host of `host:port`, without the brackets of an IPv6 address."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def _shown(value: bytes) -> str:
    return value[:80].decode("latin-1")
