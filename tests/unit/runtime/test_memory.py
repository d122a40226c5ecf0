"""Private memory is what the kernel says."""

from __future__ import annotations

import mmap

from runtime.memory import give_back, private_mb


def test_touched_anonymous_memory_counts_and_leaves_when_freed() -> None:
    before = private_mb()
    with mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(b"x" * len(memory))
        assert 31 < private_mb() - before < 100
    assert private_mb() - before < 30


def test_giving_back_harms_nothing() -> None:
    before = private_mb()
    give_back()
    assert private_mb() <= before + 1
