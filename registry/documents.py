"""Frozen values as JSON documents and back, by their type hints; knows no value in particular."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from registry.errors import InvalidValue

T = TypeVar("T")


def to_document(value: Any) -> Any:
    """A JSON-able copy of a frozen value: dataclasses become objects, tuples arrays, enums their values."""
    if dataclasses.is_dataclass(value):
        return {name: to_document(getattr(value, name)) for name in _fields(type(value))}
    if isinstance(value, tuple):
        return [to_document(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def from_document(kind: type[T], document: Any, where: str = "") -> T:
    """The value of a document that `to_document` made; raises InvalidValue naming the field that is wrong.

    A field that is missing takes its default, so a document stays readable when a value gains a field.
    """
    where = where or kind.__name__.lower()
    if not isinstance(document, Mapping):
        raise _wrong(where, document, "an object")
    known = _fields(kind)
    for name in document:
        if name not in known:
            raise InvalidValue(f"{where}.{name}", "is not a field", f"use {', '.join(known)}")
    given = {name: read(document[name], f"{where}.{name}") for name, read in known.items() if name in document}
    try:
        return kind(**given)
    except TypeError as error:
        raise InvalidValue(where, str(error).partition("() ")[2], "give every field") from None


Reader = Callable[[Any, str], Any]


def _readers(kind: Any) -> dict[str, Reader]:
    hints = typing.get_type_hints(kind)
    return {f.name: _reader(hints[f.name]) for f in dataclasses.fields(kind) if f.init}


_fields: Callable[[Any], dict[str, Reader]] = cache(_readers)
"""A reader for each field of a dataclass, worked out once; reading a thousand profiles is then dict look-ups."""


def _reader(hint: Any) -> Reader:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        inner = _reader(next(a for a in arguments if a is not types.NoneType))
        return lambda value, where: None if value is None else inner(value, where)
    if origin is tuple and arguments[-1] is Ellipsis:
        return _sequence(arguments[0], _reader(arguments[0]))
    if origin is tuple:
        return _record([_reader(a) for a in arguments])
    if dataclasses.is_dataclass(hint):
        return lambda value, where: from_document(hint, value, where)  # type: ignore[arg-type]
    return _enum(hint) if issubclass(hint, Enum) else _SCALARS[hint]


def _sequence(kind: Any, item: Reader) -> Reader:
    def read(value: Any, where: str) -> tuple[Any, ...]:
        array = _array(value, where)
        # Most of a catalogue is tuples of floats; one look at their types spares a call for each.
        if kind in _SCALARS and set(map(type, array)) <= {kind}:
            return tuple(array)
        return tuple(item(v, f"{where}[{i}]") for i, v in enumerate(array))

    return read


def _record(readers: list[Reader]) -> Reader:
    def read(value: Any, where: str) -> tuple[Any, ...]:
        if len(_array(value, where)) != len(readers):
            raise _wrong(where, value, f"an array of {len(readers)}")
        return tuple(r(v, f"{where}[{i}]") for i, (r, v) in enumerate(zip(readers, value, strict=True)))

    return read


def _enum(kind: type[Enum]) -> Reader:
    choices = {member.value: member for member in kind}

    def read(value: Any, where: str) -> Enum:
        if not isinstance(value, str) or value not in choices:
            raise _wrong(where, value, "one of " + ", ".join(choices))
        return choices[value]

    return read


def _array(value: Any, where: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(where, value, "an array")
    return value


def _scalar(kind: type, expected: str) -> Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _wrong(where, value, expected)
        return value

    return read


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(where, value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise _wrong(where, value, "a number that a float can hold") from None


_SCALARS: dict[type, Reader] = {
    str: _scalar(str, "a string"),
    int: _scalar(int, "a whole number"),
    bool: _scalar(bool, "true or false"),
    float: _number,
}


def _wrong(where: str, value: Any, expected: str) -> InvalidValue:
    shown = repr(value)
    return InvalidValue(where, f"{shown if len(shown) <= 60 else shown[:57] + '...'} is wrong", f"give {expected}")
