"""The container's program, by its parts: what is loaded before requests are taken, and what the command line says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.container.settings import Settings
from runtime.server import Patience, _load, main, settings_of


class Loads:
    """Models of which each load is as the test says: what is loaded after it."""

    def __init__(self, after: Mapping[str, str]) -> None:
        self._after = after
        self.loaded: frozenset[str] = frozenset()
        self.asked: list[str] = []

    async def names(self) -> list[str]:
        return list(self._after)

    async def load(self, name: str, *, pin: bool = True) -> None:
        self.asked.append(name)
        self.loaded = frozenset(self._after[name])


@pytest.mark.parametrize(
    ("after", "asked"),
    [
        ({"a": "a", "b": "ab", "c": "abc"}, "abc"),
        # A request had b loaded while a was.
        ({"a": "ab", "b": "ab", "c": "abc"}, "abc"),
        ({"a": "a", "b": "ab", "c": "bc", "d": "cd"}, "abc"),
        # A request had c loaded while b took the place of a: as many are loaded as before, and more.
        ({"a": "a", "b": "bc", "c": "bc"}, "ab"),
    ],
)
async def test_all_are_loaded_until_one_takes_the_place_of_another(after: Mapping[str, str], asked: str) -> None:
    models: Any = Loads(after)
    await _load(models, ("all",))
    assert models.asked == list(asked)


def test_help_says_each_option_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "x", "--help"], {"MODELLESS_CONTAINER_PORT": "y"}) == 0
    lines = capsys.readouterr().out.splitlines()
    options = {line.split()[0]: line for line in lines if line.startswith("  --")}
    assert set(options) == {"--" + name.replace("_", "-") for name in Settings.__slots__}
    assert all("[default: " in line for line in options.values())
    assert options["--port"] == "  --port VALUE           port to listen on; 0 takes a free one [default: 8080]"


def test_transports_that_drain_one_after_the_other_share_the_time() -> None:
    now = [100.0]
    patience = Patience(20.0, lambda: now[0])
    now[0] = 500.0
    assert patience.left_s() == 20.0
    now[0] += 0.5
    assert patience.left_s() == 19.5
    now[0] += 30.0
    assert patience.left_s() == 0.0


def test_a_place_on_the_command_line_counts_more_than_the_other_in_a_variable() -> None:
    settings = settings_of(["serve", "--models", "/m"], {"MODELLESS_CONTAINER_HOME": "/h"})
    assert (settings.models, settings.home) == (Path("/m"), None)
    settings = settings_of(["--home=/h"], {"MODELLESS_CONTAINER_MODELS": "/m"})
    assert (settings.models, settings.home) == (None, Path("/h"))
