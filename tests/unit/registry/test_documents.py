"""Values as documents: every kind of field there and back, and each wrong one named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest

from registry.documents import from_document, to_document
from registry.errors import InvalidValue


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    colour: Colour
    corners: tuple[Point, ...]
    sizes: tuple[int, ...]
    notes: tuple[tuple[str, str], ...] = ()
    weight: float | None = None
    centre: Point | None = None
    filled: bool = False


SHAPE = Shape("kite", Colour.BLUE, (Point(0.1, 2.0), Point(-1.0, 1e-300)), (3, 4), (("a", "b"),), 1.5, Point(0.0, 0.0))


def test_every_kind_of_field_comes_back() -> None:
    document = json.loads(json.dumps(to_document(SHAPE)))
    assert document["colour"] == "blue"
    assert from_document(Shape, document) == SHAPE


def test_a_missing_field_takes_its_default() -> None:
    bare = Shape("dot", Colour.RED, (), ())
    document = to_document(bare)
    for name in ("notes", "weight", "centre", "filled"):
        del document[name]
    assert from_document(Shape, document) == bare


def test_a_whole_number_serves_as_a_float() -> None:
    point = from_document(Point, {"x": 1, "y": 2.5})
    assert point == Point(1.0, 2.5)
    assert isinstance(point.x, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, r"shape\.name: 3 is wrong; give a string"),
        ({"colour": "green"}, r"shape\.colour: 'green' is wrong; give one of red, blue"),
        ({"colour": ["red"]}, r"shape\.colour"),
        ({"corners": {}}, r"shape\.corners: {} is wrong; give an array"),
        ({"corners": [{"x": 1.0, "y": "up"}]}, r"shape\.corners\[0\]\.y: 'up' is wrong; give a number"),
        ({"corners": [{"x": 1.0}]}, r"shape\.corners\[0\]: .*'y'"),
        ({"corners": [7]}, r"shape\.corners\[0\]: 7 is wrong; give an object"),
        ({"sizes": [1, True]}, r"shape\.sizes\[1\]: True is wrong; give a whole number"),
        ({"sizes": [1, 2.0]}, r"shape\.sizes\[1\]: 2\.0 is wrong"),
        ({"notes": [["a"]]}, r"shape\.notes\[0\]: \['a'\] is wrong; give an array of 2"),
        ({"weight": True}, r"shape\.weight: True is wrong; give a number"),
        ({"weight": 10**400}, r"shape\.weight: 1000.* is wrong; give a number that a float can hold"),
        ({"filled": 1}, r"shape\.filled: 1 is wrong; give true or false"),
        ({"volume": 1}, r"shape\.volume: is not a field; use name, colour"),
        ({"name": None}, r"shape\.name: None is wrong"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        from_document(Shape, {**to_document(SHAPE), **change})


def test_what_is_no_object_is_refused_by_name() -> None:
    with pytest.raises(InvalidValue, match=r"tasks\[3\]: 'x+\.\.\. is wrong; give an object"):
        from_document(Shape, "x" * 1000, "tasks[3]")
