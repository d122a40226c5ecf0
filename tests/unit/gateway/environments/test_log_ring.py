from __future__ import annotations

import asyncio
import os

from gateway.environments.log_ring import KEPT_BYTES, LogRing


async def test_it_keeps_the_last_lines_and_drops_the_first() -> None:
    ring = LogRing(asyncio.get_running_loop())
    written = 0
    while written < 2 * KEPT_BYTES:
        written += os.write(ring.write_fd, b"%06d\n" % (written // 7) * 100)
        await asyncio.sleep(0)  # let the loop drain the pipe
    os.write(ring.write_fd, b"the end\n")
    ring.close()
    assert ring.text().endswith("the end\n")
    assert len(ring.text()) <= KEPT_BYTES + 65536
    assert ring.tail(2).splitlines()[-1] == "the end"


async def test_what_was_written_before_the_end_is_kept() -> None:
    ring = LogRing(asyncio.get_running_loop())
    os.write(ring.write_fd, "grüße\nund mehr".encode())
    ring.close_write_end()
    ring.close()
    ring.close()
    assert ring.tail() == "grüße\nund mehr"


async def test_whoever_listens_hears_what_was_written_before_the_loop_comes_round_to_it() -> None:
    heard: list[bytes] = []
    ring = LogRing(asyncio.get_running_loop(), heard.append)
    os.write(ring.write_fd, b"one\n")
    ring.drain()
    assert heard == [b"one\n"]
    os.write(ring.write_fd, b"two\n")
    ring.close()
    ring.drain()
    assert heard == [b"one\n", b"two\n"]
