"""Private memory is what the kernel says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RunPython = Callable[..., Any]


def test_touched_anonymous_memory_counts_and_leaves_when_freed(run_python: RunPython) -> None:
    """In a process of its own: of one that has grown large, the kernel may take other pages meanwhile."""
    script = """
import json, mmap
from runtime.memory import private_mb

before = private_mb()
with mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
    # In pieces: 32 MB at once would be a second copy, which the allocator may keep.
    for _ in range(len(memory) >> 16):
        memory.write(b"x" * (1 << 16))
    touched = private_mb() - before
print(json.dumps([touched, private_mb() - before]))
"""
    touched, freed = run_python(script)
    assert 31 < touched < 100
    assert freed < 30
