"""Freed memory is given back, whichever thread allocated it and whatever lies between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtime.heap import give_back
from runtime.memory import private_mb

RunPython = Callable[..., Any]


def test_giving_back_harms_nothing() -> None:
    before = private_mb()
    give_back()
    assert private_mb() <= before + 1


def test_memory_that_a_thread_allocated_is_given_back(run_python: RunPython) -> None:
    script = """
import ctypes, json, threading
from runtime.heap import give_back, share_one_arena
from runtime.memory import private_mb

share_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = (ctypes.c_void_p,)
held = []

def fill():
    for _ in range(20):
        # Below the size from which each allocation is a mapping of its own.
        held.append(libc.malloc(100_000))
        ctypes.memset(held[-1], 1, 100_000)

before = private_mb()
thread = threading.Thread(target=fill)
thread.start()
thread.join()
full = private_mb()
for block in held:
    libc.free(block)
give_back()
print(json.dumps([full - before, private_mb() - before]))
"""
    grown, kept = run_python(script)
    assert grown > 1.5
    assert kept < 0.5


def test_large_blocks_with_small_ones_between_them_are_given_back_at_once(run_python: RunPython) -> None:
    script = """
import ctypes, json
from runtime.heap import map_large_blocks
from runtime.memory import private_mb

map_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = (ctypes.c_void_p,)

def filled(size):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    return block

libc.free(filled(16 << 20))  # after which glibc would take the next ones from its heap
before = private_mb()
large, small = [], []
for _ in range(10):
    large.append(filled(2 << 20))
    small.append(filled(2000))
full = private_mb()
for block in large:
    libc.free(block)
print(json.dumps([full - before, private_mb() - before]))
"""
    grown, kept = run_python(script)
    assert grown > 19
    assert kept < 1
