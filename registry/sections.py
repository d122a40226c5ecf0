"""A mapping of a source read field by field, as types, every fault taken down; stops for none of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar, cast

from registry.errors import InvalidValue
from registry.sources import Source, Where

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)


MOST = (1 << 31) - 1
"""No count or size in a manifest needs a larger number, and none of them fits a C int."""


class Section:
    """One mapping of a source, read key by key; `close` then reports the keys that nobody asked for."""

    def __init__(self, source: Source, where: Where, data: Any) -> None:
        self.source = source
        self.where = where
        self._before = source.fault_count
        self._asked: set[str] = set()
        if not isinstance(data, dict):
            self._wrong((), data, "a mapping")
        self._data: dict[str, Any] = data if isinstance(data, dict) else {}

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def names(self) -> tuple[str, ...]:
        """The keys of this section, where they are names of the writer's choice."""
        return tuple(self._data)

    def at(self, key: str) -> Where:
        """The way to a key of this section."""
        return (*self.where, key)

    def fault(self, key: str, message: str) -> None:
        """Take down what is wrong with a key."""
        self.source.fault(self.at(key), message)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required without a default."""
        return cast(str, self._value(key, "a text", lambda v: isinstance(v, str) and v != "", default, ""))

    def number(self, key: str, default: float | None = None) -> float:
        """A number; required without a default."""
        value = self._value(key, "a number", lambda v: _is_whole(v) or isinstance(v, float), default, 0.0)
        try:
            return float(value)
        except OverflowError:
            self._wrong((key,), value, "a number that a float can hold")
            return 0.0

    def whole(self, key: str, default: int | None = None, *, least: int = 1, most: int = MOST) -> int:
        """A whole number from `least` to `most`; required without a default."""
        expected = f"a whole number from {least}" + (f" to {most}" if most < MOST else "")
        return cast(int, self._value(key, expected, lambda v: _is_whole(v) and least <= v <= most, default, least))

    def flag(self, key: str) -> bool | None:
        """True or false; None when it is not there."""
        value = self.take(key)
        if value is None and key not in self._data:
            return None
        if not isinstance(value, bool):
            self._wrong((key,), value, "true or false")
            return None
        return value

    def choice(self, key: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        """A member of an enum by its value; required without a default."""
        members = {member.value: member for member in kind}
        expected = "one of " + ", ".join(members)
        text = self._value(key, expected, lambda v: isinstance(v, str) and v in members, default, next(iter(members)))
        return members[text]

    def take(self, key: str) -> Any:
        """Whatever stands there, unchecked; None when it is not there."""
        self._asked.add(key)
        return self._data.get(key)

    def section(self, key: str, *, required: bool = False) -> Section:
        """A mapping; an empty one when it is not there."""
        self._asked.add(key)
        if required and key not in self._data:
            self.fault(key, "is missing; give a mapping")
        return Section(self.source, self.at(key), self._data.get(key, {}))

    def items(self, key: str, *, required: bool = False) -> Iterator[tuple[Where, Any]]:
        """A list's items and the ways to them; nothing when it is not there."""
        self._asked.add(key)
        if required and not self._data.get(key):
            self.fault(key, "is missing; give a list with at least one item")
            return
        data = self._data.get(key, [])
        if not isinstance(data, list):
            self._wrong((key,), data, "a list")
            return
        for index, item in enumerate(data):
            yield (*self.where, key, index), item

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, each as it was written, so that the label 0 is the text 0."""
        return tuple(self._written(where, item) for where, item in self.items(key))

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All keys of this section with their values as they were written, by key."""
        self._asked.update(self._data)
        return tuple(sorted((key, self._written(self.at(key), value)) for key, value in self._data.items()))

    def build(self, make: Callable[[], T]) -> T | None:
        """What `make` returns, unless this section had a fault already, for then its parts are stand-ins."""
        return None if self.source.fault_count > self._before else self.attempt(make)

    def attempt(self, make: Callable[[], T]) -> T | None:
        """What `make` returns, or None when it raises InvalidValue, taken down at the field it names."""
        try:
            return make()
        except InvalidValue as error:
            field = error.field.rpartition(".")[2]
            self.source.fault(self.at(field) if field in self._data else self.where, f"{error.problem}; {error.fix}")
            return None

    def close(self, special: Mapping[str, str] = MappingProxyType({})) -> None:
        """Report each key that was not asked for: with its message in `special`, or with the nearest key meant."""
        here = self.source.shown(self.where)
        for key in self._data.keys() - self._asked:
            self.fault(key, special.get(key, f"is not a key of {here}; {nearest(key, self._asked)}"))

    def _value(self, key: str, expected: str, fits: Callable[[Any], bool], default: Any, neutral: Any) -> Any:
        self._asked.add(key)
        if key not in self._data:
            if default is None:
                self.fault(key, f"is missing; give {expected}")
            return neutral if default is None else default
        value = self._data[key]
        if not fits(value):
            self._wrong((key,), value, expected)
            return neutral
        return value

    def _written(self, where: Where, value: Any) -> str:
        if isinstance(value, dict | list) or value is None:
            self._wrong(where[len(self.where) :], value, "a text or number")
            return ""
        return self.source.texts[where]

    def _wrong(self, below: Where, value: Any, expected: str) -> None:
        kind = {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(value), repr(value)[:60])
        self.source.fault((*self.where, *below), f"{kind} is wrong; give {expected}")


def nearest(name: str, known: Iterable[str]) -> str:
    """How to mend a name that is not known: the one most like it, or all of them."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1)
    return f"did you mean {near[0]}?" if near else f"use {', '.join(choices)}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
