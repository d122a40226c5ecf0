"""How much private memory this process holds, as the kernel counts it; never an estimate."""

from __future__ import annotations

import functools
from collections.abc import Callable


def private_mb() -> float:
    """Anonymous resident memory of this process in MB (RssAnon of /proc/self/status).

    Mapped weight files are left out: they are page cache, one copy per machine, and the kernel can drop them.
    """
    with open("/proc/self/status", "rb", buffering=0) as file:
        _, found, rest = file.read(4096).partition(b"RssAnon:")
    if found:
        return int(rest.split(None, 1)[0]) / 1024
    raise OSError("/proc/self/status has no RssAnon; Linux 4.5 or newer is needed")


def give_back() -> None:
    """Ask the C library to return freed memory to the kernel; does nothing where it cannot."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    import ctypes  # noqa: PLC0415 - only an eviction pays for it

    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
