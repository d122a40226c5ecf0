"""The stand-ins behave as what they stand for, and do without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from registry.typed import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Row(NamedTuple):
    """A row."""

    name: str
    size: int = 3

    def doubled(self) -> int:
        return 2 * self.size


class Held(NamedTuple, Generic[T]):
    """A row that takes a parameter."""

    item: T


def test_a_named_tuple_is_a_tuple_with_names_defaults_and_methods() -> None:
    row = Row("a")

    assert row == ("a", 3) == Row(size=3, name="a")
    assert {row: 1}[Row("a", 3)] == 1
    assert (row.name, row.size, row.doubled(), Row("b", 5).doubled()) == ("a", 3, 6, 10)
    assert repr(row) == "Row(name='a', size=3)"
    assert Row.__doc__ == "A row."
    assert row._replace(size=4) == Row("a", 4)
    with pytest.raises(TypeError):
        Row()  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        row.size = 4  # type: ignore[misc]


def test_a_named_tuple_takes_parameters() -> None:
    held: Held[int] = Held(7)

    assert held.item == 7
    assert isinstance(held, Held)


def test_typing_is_not_imported() -> None:
    probe = "import sys, registry.typed; print('typing' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-S", "-c", probe], check=True, capture_output=True, text=True, timeout=60)

    assert loaded.stdout.strip() == "False"
