"""What the C library's allocator does with freed memory; it allocates nothing, and does nothing where it has no say."""

from __future__ import annotations

import functools
from collections.abc import Callable


def give_back() -> None:
    """Ask the C library to return freed memory to the kernel; does nothing where it cannot."""
    trim = _trim()
    if trim is not None:
        trim(0)


def share_one_arena() -> None:
    """Have all threads allocate from one heap from now on; call it before there are any.

    glibc gives threads heaps of their own, and `give_back` does not reach the free end of those: what a model that was
    loaded on one thread had occupied stayed with the process when it was given up on another.
    """
    _set(_M_ARENA_MAX, 1)


def map_large_blocks() -> None:
    """Have every block of a megabyte and more go back to the kernel when it is freed.

    After it has freed one large block glibc takes blocks of up to that size from the heap, where whatever small
    comes to lie behind a body of megabytes keeps its pages: tens of MB that a server never gets back.
    """
    _set(_M_MMAP_THRESHOLD, _LARGE)
    _set(_M_TRIM_THRESHOLD, 2 * _LARGE)


_LARGE = 1 << 20

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h; other C libraries pass over what they do not know."""


def _set(option: int, value: int) -> None:
    import ctypes  # noqa: PLC0415 - only servers pay for it

    limit: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    if limit is not None:
        limit(option, value)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    import ctypes  # noqa: PLC0415 - only an eviction pays for it

    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
