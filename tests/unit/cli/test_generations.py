"""`generations` lists what was asked for in vain; `generate` has nothing to do where nothing was."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result

from cli import generate
from registry.generations import Generation, GenerationState
from registry.model import Recipe
from registry.stores.generations import FILE, SqliteGenerations

Invoke = Callable[..., Result]


@pytest.fixture
def generation(home: Path) -> Generation:
    generations = SqliteGenerations(home / FILE)
    recipe = Recipe("trees", "small", (("percent", "40"),))
    made = generations.queue("flowers", "trees-40", "trees-40", recipe, basis="b")
    generations.start_next()
    ended = generations.move(made.id, GenerationState.DROPPED, "no better than small")
    generations.close()
    return ended


def test_generations_are_listed_with_their_states_and_reasons(
    invoke: Invoke, home: Path, generation: Generation
) -> None:
    result = invoke("generations", "--home", str(home))
    assert result.exit_code == 0
    for text in (generation.id, "flowers/trees-40", "trees of small", "percent=40", "dropped", "no better than small"):
        assert text in result.stdout
    (listed,) = json.loads(invoke("generations", "--home", str(home), "--json").stdout)["generations"]
    assert (listed["id"], listed["state"]) == (generation.id, "dropped")
    assert listed["recipe"] == {"generator": "trees", "parent": "small", "parameters": [["percent", "40"]]}


def test_a_platform_or_a_stack_is_asked_at_its_address(invoke: Invoke, home: Path, generation: Generation) -> None:
    told = invoke("generations", "--home", str(home), "--json").stdout
    asked: list[httpx.Request] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=told)

    arguments = ("generations", "--url", "http://stack.example", "--api-key", "k")
    result = invoke(*arguments, obj=httpx.MockTransport(server))
    assert (result.exit_code, generation.id in result.stdout) == (0, True)
    assert invoke(*arguments, "--json", obj=httpx.MockTransport(server)).stdout == told
    assert {(str(one.url), one.headers["authorization"]) for one in asked} == {
        ("http://stack.example/v1/generations", "Bearer k")
    }


def test_what_failed_in_passing_is_told_from_a_verdict(invoke: Invoke, home: Path) -> None:
    generations = SqliteGenerations(home / FILE)
    made = generations.queue("flowers", "trees-40", "trees-40", Recipe("trees", "small"), basis="b")
    generations.start_next()
    generations.move(made.id, GenerationState.FAILED, "no environment was to be had", passing=True)
    generations.close()
    assert "tried again" in invoke("generations", "--home", str(home)).stdout


def test_a_home_without_generations_has_none_and_gets_none(invoke: Invoke, home: Path) -> None:
    assert json.loads(invoke("generations", "--home", str(home), "--json").stdout) == {"generations": []}
    assert (
        invoke("generations", "--home", str(home)).stdout
        == "No generations: nobody has asked for what only a new variant could do.\n"
    )
    assert not (home / FILE).exists()


def test_generate_ends_where_nothing_was_asked(invoke: Invoke, home: Path) -> None:
    result = invoke("generate", "--home", str(home), "--nice", "0", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"generations": []}


def test_only_one_generates_for_a_home(invoke: Invoke, home: Path) -> None:
    with (home / generate.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = invoke("generate", "--home", str(home), "--nice", "0")
    assert result.exit_code == 1
    assert "another process is generating" in result.stderr
