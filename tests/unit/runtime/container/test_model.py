"""What is known of a model's versions says which one is meant, what the station is told, and what is refused."""

from __future__ import annotations

import pytest

from runtime.container.loaded import Traits
from runtime.container.model import Key, Model, Served
from runtime.container.repository import Version
from runtime.errors import UnknownModel
from runtime.ort import OrtSession


def never(threads: int) -> OrtSession:
    raise AssertionError("it is opened")


def model(**accuracies: float | None) -> Model:
    """A model whose versions (newest first) have these accuracies."""
    versions = [Version("m", name, never, f"bytes of {name}", accuracy) for name, accuracy in accuracies.items()]
    return Model("m", {version.name: Served(version, None) for version in versions})


def test_a_key_in_words() -> None:
    assert str(Key("m", "2", 4)) == "m version 2"


def test_without_accuracies_the_newest_is_meant_and_each_version_is_a_task() -> None:
    made = model(b=None, a=0.9)

    assert made.served(None) is made.versions["b"]
    assert [made.task(version) for version in made.versions] == ["m/b", "m/a"]


def test_with_accuracies_the_most_accurate_is_meant_and_the_station_may_choose() -> None:
    made = model(b=0.8, a=0.9)

    assert made.served(None) is made.versions["a"]
    assert [made.task(version) for version in made.versions] == ["m", "m"]


def test_a_version_that_there_is_not_is_said_and_those_that_there_are() -> None:
    with pytest.raises(UnknownModel, match="no version 'c'; it has b, a"):
        model(b=None, a=None).served("c")


def test_a_version_of_other_bytes_is_not_meant() -> None:
    (served,) = model(a=None).versions.values()
    served.check_stamp(None)
    served.check_stamp("bytes of a")

    with pytest.raises(UnknownModel, match="m version a is not of others"):
        served.check_stamp("others")


def test_the_station_goes_by_what_the_repository_measured_before_what_was_tried() -> None:
    tried, measured = ((1, 0.2, 0.3),), ((1, 0.1, 0.1),)
    version = Version("m", "a", never, None, 0.9, service={1: measured}, load_s=3.0)
    served = Served(version, None, traits={1: Traits(8, True, tried), 2: Traits(4, True, tried)})

    rung = served.rung()

    assert (rung.variant, rung.accuracy, rung.max_batch, rung.load_s) == ("a", 0.9, 8, 3.0)
    assert rung.service == {1: measured, 2: tried}
