"""An executor without threads: on a virtual clock, what another thread would do takes no time; it queues nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class AtOnce(Executor):
    """Does what it is given when it is given."""

    def submit(self, work: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> Future[T]:
        """What came of it, which is there: the result, or what was raised."""
        future: Future[T] = Future()
        try:
            future.set_result(work(*given, **named))
        except Exception as error:  # noqa: BLE001 - as any executor does
            future.set_exception(error)
        return future
