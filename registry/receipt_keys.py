"""The keys that receipts are signed with: one for each period of thirty days, of which the last two are good."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

PERIOD_S = 30 * 86400
"""Longer than a receipt lives, so that no more than two keys are ever good."""

SECRET_BYTES = 32
"""As long as the digest of the hash that they are used with (RFC 2104, section 3)."""


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """A secret, and the period that it was made for."""

    id: str
    secret: bytes = field(repr=False)


class ReceiptKeys(Protocol):
    """Has a key for each period, the same for everybody; raises Unavailable when it cannot be had."""

    def current(self) -> ReceiptKey:
        """The key to sign with now, made if nobody has needed it before."""

    def find(self, id_: str) -> ReceiptKey | None:
        """The key of an earlier signature, if it is still good."""


def period(now: float) -> int:
    """The period of a time in seconds since the epoch."""
    return int(now // PERIOD_S)


def good(now: float) -> tuple[str, ...]:
    """Ids of the keys that are good: this period's, the last one's, and the next one's, for clocks that are ahead."""
    return tuple(str(period(now) + ahead) for ahead in (0, -1, 1))


def new_secret() -> bytes:
    """A secret that nobody can guess."""
    return secrets.token_bytes(SECRET_BYTES)


class MemoryReceiptKeys:
    """Keeps its keys for as long as the process lives."""

    def __init__(self, *, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._keys: dict[str, ReceiptKey] = {}

    def current(self) -> ReceiptKey:
        """See ReceiptKeys."""
        with self._lock:
            id_ = str(period(self._wall()))
            return self._keys.setdefault(id_, ReceiptKey(id_, new_secret()))

    def find(self, id_: str) -> ReceiptKey | None:
        """See ReceiptKeys."""
        return self._keys.get(id_) if id_ in good(self._wall()) else None
