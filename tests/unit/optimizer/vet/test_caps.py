"""Caps grow with the model where its size is what costs."""

from __future__ import annotations

from optimizer.vet import CAPS, Caps


def test_a_small_model_gets_what_the_caps_say() -> None:
    assert CAPS.scaled(1000) == CAPS


def test_a_large_model_gets_memory_and_time_by_its_size() -> None:
    caps = Caps(memory_mb=100, memory_per_byte=8, cpu_s=10, wall_s=20.0, bytes_per_s=1 << 20)

    scaled = caps.scaled(5 << 20)

    assert (scaled.memory_mb, scaled.cpu_s, scaled.wall_s) == (140, 15, 30.0)
    assert scaled.model_bytes == caps.model_bytes
