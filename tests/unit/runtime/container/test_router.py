"""Routes: exact ones, ones with names, and what is said of paths that are none."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.container.router import KEPT, KEPT_BYTES, Route, Router, query
from runtime.errors import InvalidBody, UnknownModel, WrongMethod


def handler(name: str) -> Any:
    return lambda exchange, names: name


ROUTER = Router(
    [
        Route("GET", "/v2", handler("server")),
        Route("GET", "/v2/models/stats", handler("all")),
        Route("GET", "/v2/models/{model}", handler("model")),
        Route("POST", "/v2/models/{model}/versions/{version}/infer", handler("infer")),
        Route("DELETE", "/v2/models/{model}", handler("unload")),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "name", "names"),
    [
        (b"GET", b"/v2", "server", {}),
        (b"HEAD", b"/v2", "server", {}),
        (b"GET", b"/v2?a=b", "server", {}),
        (b"GET", b"/v2/models/stats", "all", {}),
        (b"GET", b"/v2/models/m.1-x_y", "model", {"model": "m.1-x_y"}),
        (b"GET", b"/v2/models/a%2Fb%20c", "model", {"model": "a/b c"}),
        (b"POST", b"/v2/models/m/versions/2/infer", "infer", {"model": "m", "version": "2"}),
    ],
)
def test_found(method: bytes, path: bytes, name: str, names: dict[str, str]) -> None:
    for _ in range(2):  # the second time it is remembered
        found = ROUTER.find(method, path)
        assert found.handler(None, found.names) == name  # type: ignore[arg-type]
        assert found.names == names


@pytest.mark.parametrize("path", [b"/", b"/v2/", b"/v2/models", b"/v2/models/", b"/v2/models/a/b", b"/V2", b"*"])
def test_not_served(path: bytes) -> None:
    with pytest.raises(UnknownModel, match="nothing is served at"):
        ROUTER.find(b"GET", path)


def test_served_by_other_methods() -> None:
    with pytest.raises(WrongMethod, match="is served by DELETE, GET") as fault:
        ROUTER.find(b"POST", b"/v2/models/m")
    assert fault.value.allowed == ("DELETE", "GET")


def test_a_path_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidBody, match="not UTF-8"):
        ROUTER.find(b"GET", b"/\xff")


def test_more_paths_than_are_remembered_are_found() -> None:
    for i in range(KEPT + 2):
        assert ROUTER.find(b"GET", b"/v2/models/m%d" % i).names == {"model": f"m{i}"}


def test_long_paths_are_found_and_not_remembered() -> None:
    router = Router([Route("GET", "/{model}", handler("model"))])
    for size in (KEPT_BYTES - 1, KEPT_BYTES):
        path = b"/" + b"m" * size
        kept = router.find(b"GET", path) is router.find(b"GET", path)
        assert kept == (len(path) <= KEPT_BYTES)


@pytest.mark.parametrize(
    ("path", "parameters"),
    [(b"/models", {}), (b"/models?", {}), (b"/models?a=1&b=x%20y&a=2&c", {"a": "2", "b": "x y", "c": ""})],
)
def test_query(path: bytes, parameters: dict[str, str]) -> None:
    assert query(path) == parameters
