"""Components as settings name them: what is wrong is named, and how to say it."""

from __future__ import annotations

import json

import pytest

from gateway.backends.components import Component, components_of
from registry.errors import InvalidValue

GOOD = {"endpoint": "e", "component": "c"}


def test_components_are_read_by_tier() -> None:
    named = {"GPU": json.dumps({"small": GOOD, "large": GOOD | {"copies": 4}})}
    assert components_of(named, "GPU") == {"small": Component("e", "c", 1), "large": Component("e", "c", 4)}
    assert components_of({}, "GPU") == components_of({"GPU": ""}, "GPU") == {}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("arn", "GPU.g: needs endpoint and component"),
        ({"endpoint": "e"}, "GPU.g: needs endpoint and component"),
        (GOOD | {"zone": "a"}, "may have copies"),
        (GOOD | {"endpoint": ""}, "that is no name"),
        (GOOD | {"component": 7}, "that is no name"),
        (GOOD | {"copies": 0}, "GPU.g.copies: 0 is impossible; give 1 to 100"),
        (GOOD | {"copies": "two"}, "GPU.g.copies: 'two' is impossible"),
    ],
)
def test_what_is_none_is_named(entry: object, message: str) -> None:
    with pytest.raises(InvalidValue) as fault:
        components_of({"GPU": json.dumps({"g": entry})}, "GPU")
    assert message in str(fault.value)


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_what_is_no_object_is_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="GPU: is no JSON object of tiers to components"):
        components_of({"GPU": text}, "GPU")
