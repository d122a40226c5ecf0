"""What is opened twice where a contract holds over a log or a store that several have open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import pytest


class Closing(Protocol):
    """What a suite's own `reopen` opens."""

    def close(self) -> None:
        """Leave it."""


@pytest.fixture
def log(reopen: Callable[[], Closing]) -> Iterator[Closing]:
    """The log, as one environment has it open."""
    opened = reopen()
    yield opened
    opened.close()


@pytest.fixture
def other(reopen: Callable[[], Closing]) -> Iterator[Closing]:
    """The same, as another one has it."""
    opened = reopen()
    yield opened
    opened.close()
