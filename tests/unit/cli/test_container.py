"""`container`: what cannot be served is said before anything starts, and a running one is asked in its own protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from runtime import server
from runtime.container.settings import Settings
from runtime.errors import NoProvider
from runtime.server import Address

Invoke = Callable[..., Result]

URL = "http://box:8080"
INDEX = [
    {"name": "digits", "version": "cnn", "state": "READY", "reason": "pinned"},
    {"name": "digits", "version": "mlp", "state": "UNAVAILABLE", "reason": "unloaded"},
]


def duration(count: int, ms: float) -> dict[str, int]:
    return {"count": count, "ns": int(count * ms * 1e6)}


STATS = {
    "model_stats": [
        {
            "name": "digits",
            "version": "cnn",
            "inference_count": 30,
            "execution_count": 4,
            "inference_stats": {
                "success": duration(10, 9.0),
                "fail": duration(1, 5.0),
                "queue": duration(10, 2.5),
                "compute_infer": duration(10, 4.25),
            },
        },
        {
            "name": "digits",
            "version": "mlp",
            "inference_count": 0,
            "execution_count": 0,
            "inference_stats": dict.fromkeys(("success", "fail", "queue", "compute_infer"), duration(0, 0.0)),
        },
    ]
}


class Box:
    """A container that answers from a table, and has no body for what it is told to do."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.answer: httpx.Response | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.answer is not None:
            return self.answer
        documents: dict[str, Any] = {"index": INDEX, "stats": STATS}
        last = request.url.path.rpartition("/")[2]
        return httpx.Response(200, json=documents[last]) if last in documents else httpx.Response(200)


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def ask(invoke: Invoke, box: Box) -> Invoke:
    return lambda *arguments, **options: invoke("container", *arguments, obj=httpx.MockTransport(box), **options)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What would be served, for `up` that serves nothing."""
    found: list[Settings] = []

    def run(settings: Settings, *, ready: Callable[[Address], None]) -> None:
        found.append(settings)
        ready(Address("http://127.0.0.1:1", "127.0.0.1:2"))

    monkeypatch.setattr(server, "run", run)
    return found


def test_models_are_listed_with_what_is_loaded_and_kept(ask: Invoke, box: Box) -> None:
    shown = ask("models", URL).stdout
    for text in ("digits", "cnn", "READY", "pinned", "mlp", "UNAVAILABLE", "unloaded"):
        assert text in shown
    assert json.loads(ask("models", f"{URL}/", "--json").stdout) == {"url": URL, "models": INDEX}
    assert {(r.method, r.url.path) for r in box.asked} == {("POST", "/v2/repository/index")}


@pytest.mark.parametrize(("option", "pinned"), [((), False), (("--pin",), True)])
def test_a_model_is_loaded_and_kept_only_if_that_is_said(
    ask: Invoke, box: Box, option: tuple[str, ...], pinned: bool
) -> None:
    shown = ask("load", URL, "digits", "--version", "c n/n", *option).stdout
    assert box.asked[0].url.raw_path == b"/v2/repository/models/digits/versions/c%20n%2Fn/load"
    assert json.loads(box.asked[0].content) == {"parameters": {"pin": pinned}}
    assert ("kept until it is unloaded" in shown) is pinned
    document = json.loads(ask("load", URL, "digits", *option, "--json").stdout)
    assert document == {"url": URL, "model": "digits", "version": None, "pinned": pinned}


def test_a_model_is_unloaded(ask: Invoke, box: Box) -> None:
    assert "digits is unloaded" in ask("unload", URL, "digits").stdout
    assert box.asked[0].url.path == "/v2/repository/models/digits/unload"
    assert json.loads(ask("unload", URL, "digits", "--json").stdout)["model"] == "digits"


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ((), "/v2/models/stats"),
        (("digits",), "/v2/models/digits/stats"),
        (("digits", "--version", "cnn"), "/v2/models/digits/versions/cnn/stats"),
    ],
)
def test_counters_are_shown_as_means(ask: Invoke, box: Box, arguments: tuple[str, ...], path: str) -> None:
    lines = ask("stats", URL, *arguments).stdout.splitlines()
    assert (box.asked[0].method, box.asked[0].url.path) == ("GET", path)
    cnn, mlp = (next(line.split() for line in lines if f" {name} " in line) for name in ("cnn", "mlp"))
    assert cnn[2:] == ["10", "1", "30", "4", "7.5", "2.50", "4.25", "9.00"]
    assert mlp[2:] == ["0", "0", "0", "0", "–", "–", "–", "–"]
    assert json.loads(ask("stats", URL, *arguments, "--json").stdout) == STATS


def test_a_version_is_a_model_s(ask: Invoke, box: Box) -> None:
    result = ask("stats", URL, "--version", "cnn")
    assert result.exit_code == 2
    assert "name its model" in result.stderr
    assert box.asked == []


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (httpx.Response(404, json={"error": "model 'digitz' is not known"}), 2, "model 'digitz' is not known"),
        (httpx.Response(507, json={"error": "no room"}), 1, "no room (HTTP 507)"),
        (httpx.Response(503, text="busy"), 1, "busy"),
    ],
)
def test_a_refusal_is_a_message(ask: Invoke, box: Box, answer: httpx.Response, code: int, said: str) -> None:
    box.answer = answer
    result = ask("load", URL, "digitz")
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_an_address_that_is_none_and_one_where_nobody_is_are_told_apart(ask: Invoke, invoke: Invoke) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    wrong = invoke("container", "models", "box:8080")
    assert (wrong.exit_code, "URL" in wrong.stderr) == (2, True)
    absent = invoke("container", "models", URL, obj=httpx.MockTransport(refuse))
    assert absent.exit_code == 1
    assert "start it with `modelless container up`" in absent.stderr


def test_a_folder_is_served_with_what_options_and_variables_say(
    invoke: Invoke, served: list[Settings], tmp_path: Path
) -> None:
    options = ("--models", str(tmp_path), "--port", "0", "--cores", "2", "--load", "a", "--load", "b", "--json")
    result = invoke("container", "up", *options, env={"MODELLESS_CONTAINER_MEMORY_MB": "512"})
    document = json.loads(result.stdout)
    assert (document["url"], document["grpc"]) == ("http://127.0.0.1:1", "127.0.0.1:2")
    (settings,) = served
    assert (settings.models, settings.home, settings.port, settings.cores) == (tmp_path, None, 0, 2)
    assert (settings.load, settings.memory_mb) == (("a", "b"), 512)


def test_a_home_is_served_as_one_of_its_tiers(invoke: Invoke, served: list[Settings], home: Path) -> None:
    result = invoke("container", "up", "--home", str(home), "--tier", "inline")
    assert result.exit_code == 0, result.stderr
    assert "127.0.0.1:2" in result.stdout
    assert (served[0].home, served[0].models, served[0].tier) == (home, None, "inline")
    assert invoke("container", "up", "--tier", "inline", env={"MODELLESS_HOME": str(home)}).exit_code == 0
    assert served[1].home == home


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tier", "inlin"), "did you mean 'inline'?"),
        (("--models", "/"), "one or the other"),
        (("--port", "http"), "--port: 'http' is not a whole number"),
        (("--providers", "TPU"), "--providers"),
    ],
)
def test_what_cannot_be_served_is_bad_input(
    invoke: Invoke, served: list[Settings], home: Path, options: tuple[str, ...], said: str
) -> None:
    result = invoke("container", "up", "--home", str(home), *options)
    assert (result.exit_code, served) == (2, [])
    assert said in result.stderr


def test_a_home_without_a_catalogue_says_what_to_do(invoke: Invoke, served: list[Settings], tmp_path: Path) -> None:
    result = invoke("container", "up", "--home", str(tmp_path))
    assert (result.exit_code, served) == (2, [])
    assert "modelless register" in result.stderr
    assert "--models DIR" in result.stderr


def test_what_the_machine_lacks_is_a_failure(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(settings: Settings, *, ready: object) -> None:
        raise NoProvider("CUDA is not to be had")

    monkeypatch.setattr(server, "run", run)
    result = invoke("container", "up", "--models", str(tmp_path))
    assert result.exit_code == 1
    assert "CUDA is not to be had" in result.stderr
