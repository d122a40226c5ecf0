"""The few things that a worker's modules need of `typing`, without its import; it never checks anything.

A worker's cold start would spend 3 of its 47 ms on importing `typing` and on its named tuples, which compile every
annotation. A type checker sees `typing` itself here; a running program sees what follows `else`.
"""

from __future__ import annotations

__all__ = ["TYPE_CHECKING", "Any", "Generic", "NamedTuple", "Protocol", "TypeVar"]

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Generic, NamedTuple, Protocol, TypeVar
else:
    from collections import namedtuple

    Any = Protocol = object

    def TypeVar(name, **_):  # noqa: N802 - the name that it stands for
        """A name for annotations, which are never evaluated."""
        return name

    class Generic:
        """A base that takes parameters and forgets them."""

        __slots__ = ()

        def __class_getitem__(cls, parameters):
            return cls

    class _Rows(type):
        """Makes a named tuple of a class body: its annotations are the fields, their values the defaults."""

        def __new__(mcs, name, bases, body):
            fields = tuple(body.get("__annotations__", ()))
            defaults = [body.pop(field) for field in fields if field in body]
            row = namedtuple(name, fields, defaults=defaults)
            return type(name, (row, *bases[1:]), {"__slots__": (), **body})

    NamedTuple = type.__new__(_Rows, "NamedTuple", (), {})
