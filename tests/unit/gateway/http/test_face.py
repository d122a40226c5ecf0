"""Work on large tensors leaves the loop; work on small ones is not worth a thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gateway.http.face import OFF_LOOP_BYTES, off_loop, size_of


@pytest.mark.parametrize(("size", "here"), [(0, True), (OFF_LOOP_BYTES, True), (OFF_LOOP_BYTES + 1, False)])
async def test_only_large_work_leaves_the_loop(size, here):
    assert (await off_loop(size, threading.current_thread) is threading.current_thread()) is here


async def test_errors_come_back_from_the_thread():
    def fail():
        raise KeyError("inside")

    with pytest.raises(KeyError):
        await off_loop(OFF_LOOP_BYTES + 1, fail)


def test_the_size_is_that_of_all_tensors():
    assert size_of({"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.int8)}) == 28
