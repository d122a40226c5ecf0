"""Work shared by a few threads that live only as long as it does; it keeps none and never swallows a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from registry.typed import TypeVar

T = TypeVar("T")


def begin(work: Callable[[T], object], items: Sequence[T], threads: int) -> Callable[[], None]:
    """Have so many threads begin to work on the items; returns the caller's part.

    That takes items as the threads do, waits until all are done, and raises what the first failure raised. A failure
    ends its thread, and the others go on.
    """
    pending = iter(items)  # shared by the threads: taking from it is atomic
    faults: list[Exception] = []

    def run() -> None:
        try:
            for item in pending:
                work(item)
        except Exception as fault:  # noqa: BLE001 - a thread's outermost loop; raised again below
            faults.append(fault)

    helping = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for thread in helping:
        thread.start()

    def finish() -> None:
        run()
        for thread in helping:
            thread.join()
        if faults:
            raise faults[0]

    return finish
