"""The container over real sockets: every status and its cause, every form of request, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from registry.errors import InvalidValue
from runtime.container.loaded import Loaded
from runtime.container.models import Models
from runtime.container.repository import Folder
from runtime.container.settings import Settings
from runtime.errors import UnknownModel
from runtime.server import _version, serving

MakeFolder = Callable[[dict[str, bytes]], Path]

PATIENCE_S = 60.0
WIDE = np.eye(1024, dtype=np.float32)
"""Four megabytes of weights."""


@asynccontextmanager
async def container(root: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        asyncio.timeout(PATIENCE_S),
        serving(Settings(models=root, port=0, cores=2, **settings)) as address,
        httpx.AsyncClient(base_url=address.url, timeout=PATIENCE_S) as http,
    ):
        yield http


def tensor(values: Any, **changes: Any) -> dict[str, Any]:
    array = np.asarray(values)
    datatype = "INT64" if array.dtype.kind == "i" else "FP32"
    return {"name": "x", "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()} | changes


def asked(data: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": [tensor(data)], **more}


async def infer(http: httpx.AsyncClient, model: str, data: Any, **more: Any) -> httpx.Response:
    return await http.post(f"/v2/models/{model}/infer", json=asked(data, **more))


def raw(body: bytes) -> bytes:
    """A request to infer, as bytes."""
    return b"POST /v2/models/m/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def answer(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    return list(np.reshape(output["data"], output["shape"]).tolist())


async def shown(http: httpx.AsyncClient, text: str) -> None:
    """Wait until the metrics say so."""
    while text not in (await http.get("/metrics")).text:
        pass


class Gate:
    """Holds runs back until it is opened."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()
        self._reached = asyncio.Event()
        self.rows: list[list[int]] = []

    def open(self) -> None:
        self._open.set()

    async def occupy(self, http: httpx.AsyncClient, model: str, *rows: Any) -> list[asyncio.Task[httpx.Response]]:
        """Have a run of each of these rows under way, one on each core."""
        tasks = []
        for i, row in enumerate(rows):
            tasks.append(asyncio.create_task(infer(http, model, row)))
            while len(self.rows) <= i:
                self._reached.clear()
                await self._reached.wait()
        return tasks

    def pass_(self, rows: list[int]) -> None:
        self.rows.append(rows)
        self._loop.call_soon_threadsafe(self._reached.set)
        assert self._open.wait(PATIENCE_S)


@pytest.fixture
async def gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    """Every run is held back by it, off the loop; runs are said to take 50 ms."""
    made, run = Gate(), Loaded.run

    def held(self: Loaded, inputs: Any, rows: Any) -> Any:
        made.pass_(list(rows))
        return run(self, inputs, rows)

    monkeypatch.setattr("runtime.container.probe._measured", lambda *_: ((1, 0.05, 0.06), (64, 0.05, 0.06)))
    monkeypatch.setattr(Loaded, "run", held)
    yield made
    made.open()


# Requests


async def test_json_in_and_out(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        response = await infer(http, "m", [[1.0, 2.0, 3.0, 4.0]], id="7")
        document = response.json()
        assert (document["id"], document["model_name"], document["model_version"]) == ("7", "m", "1")
        assert answer(response) == [[2.0, 4.0, 6.0, 8.0]]
        told = document["parameters"]
        assert (told["variant"], told["threads"], told["batch"], told["loaded"]) == ("1", 1, 1, False)
        assert told["run_ms"] > 0
        assert told["queue_ms"] >= 0


async def test_binary_in_and_out(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        x = np.arange(8, dtype=np.float32).reshape(2, 4)
        described = {"name": "x", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": 32}}
        header = json.dumps({"inputs": [described], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]})
        response = await http.post(
            "/v2/models/m/infer",
            content=header.encode() + x.tobytes(),
            headers={"Inference-Header-Content-Length": str(len(header))},
        )
        assert response.headers["content-type"] == "application/octet-stream"
        length = int(response.headers["inference-header-content-length"])
        assert json.loads(response.content[:length])["outputs"][0]["parameters"] == {"binary_data_size": 32}
        np.testing.assert_array_equal(np.frombuffer(response.content[length:], np.float32).reshape(2, 4), 2 * x)


async def test_a_version_can_be_named_and_others_are_served_beside_it(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m/1": graphs.scaled(1.0), "m/2": graphs.scaled(2.0)})) as http:
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]
        assert answer(await infer(http, "m/versions/1", [[1.0] * 4])) == [[1.0] * 4]


async def test_requests_in_chunks(folder_of: MakeFolder, graphs: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for byte in json.dumps(asked([[1.0] * 4])).encode():
            yield bytes([byte])

    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        assert answer(await http.post("/v2/models/m/infer", content=chunks())) == [[2.0] * 4]


async def test_batched_answers_are_those_that_each_gets_alone(folder_of: MakeFolder, graphs: Any) -> None:
    w = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    rows = np.random.default_rng(1).normal(size=(64, 1, 4)).astype(np.float32)
    async with container(folder_of({"m": graphs.linear(w)})) as http:
        alone = [answer(await infer(http, "m", row)) for row in rows]
        together = await asyncio.gather(*(infer(http, "m", row) for row in rows))
        np.testing.assert_allclose([answer(response) for response in together], alone, rtol=1e-6)
        assert max(response.json()["parameters"]["batch"] for response in together) > 1


async def test_rows_that_depend_on_one_another_are_never_batched(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.centred()})) as http:
        responses = await asyncio.gather(*(infer(http, "m", [[float(i)] * 4]) for i in range(32)))
        assert all(answer(response) == [[0.0] * 4] for response in responses)
        assert {response.json()["parameters"]["batch"] for response in responses} == {1}
        assert answer(await infer(http, "m", [[1.0] * 4, [3.0] * 4])) == [[-1.0] * 4, [1.0] * 4]


async def test_a_poisoned_request_fails_alone(folder_of: MakeFolder, graphs: Any, gate: Gate) -> None:
    async with container(folder_of({"m": graphs.picked()})) as http:
        asks = await gate.occupy(http, "m", [0], [1])
        asks += [asyncio.create_task(infer(http, "m", [i])) for i in (2, 9, 2, 1)]
        await shown(http, "modelless_container_waiting 4")
        gate.open()
        responses = await asyncio.gather(*asks)
        assert [response.status_code for response in responses] == [200, 200, 200, 400, 200, 200]
        assert "indices element out of data bounds" in responses[3].json()["error"]
        assert answer(responses[5]) == [[3.0, 4.0]]


# Pipelining and leaving, on raw sockets


async def test_pipelined_requests_are_answered_in_order(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        bodies = [json.dumps(asked([[float(i)] * 4], id=str(i))).encode() for i in range(300)]
        for body in bodies:
            writer.write(raw(body))
        for i in range(300):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            document = json.loads(await reader.readexactly(length))
            assert (document["id"], document["outputs"][0]["data"]) == (str(i), [2.0 * i] * 4)
        writer.close()


async def test_who_leaves_takes_what_waits_along(folder_of: MakeFolder, graphs: Any, gate: Gate) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        running = await gate.occupy(http, "m", [[1.0] * 4], [[1.0] * 4])
        body = json.dumps(asked([[1.0] * 4] * 5)).encode()
        _, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        writer.write(raw(body))
        await shown(http, "modelless_container_waiting 1")
        writer.close()
        await shown(http, "modelless_container_waiting 0")
        gate.open()
        assert [answer(response) for response in await asyncio.gather(*running)] == [[[2.0] * 4]] * 2
        assert [5] not in gate.rows
        assert 'outcome="Cancelled"} 1' in (await http.get("/metrics")).text


async def test_stopping_answers_what_is_under_way(folder_of: MakeFolder, graphs: Any, gate: Gate) -> None:
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(timeout=PATIENCE_S) as http:
        async with serving(Settings(models=folder_of({"m": graphs.scaled(2.0)}), port=0, cores=2)) as address:
            http.base_url = httpx.URL(address.url)
            running = await gate.occupy(http, "m", [[0.0] * 4], [[1.0] * 4])
            running += [asyncio.create_task(infer(http, "m", [[float(i)] * 4])) for i in (2, 3, 4)]
            await shown(http, "modelless_container_waiting 3")
            asyncio.get_running_loop().call_later(0.1, gate.open)
        responses = await asyncio.gather(*running)
        assert [answer(response) for response in responses] == [[[2.0 * i] * 4] for i in range(5)]
        assert all(response.headers["connection"] == "close" for response in responses)
        with pytest.raises(httpx.ConnectError):
            await http.get("/ping")


async def test_a_connection_that_is_used_again_just_as_the_server_stops_is_answered(
    folder_of: MakeFolder, graphs: Any
) -> None:
    server = serving(Settings(models=folder_of({"m": graphs.scaled(2.0)}), port=0, cores=2))
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(timeout=PATIENCE_S) as http:
        http.base_url = httpx.URL((await server.__aenter__()).url)
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]
        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        await asyncio.sleep(0)
        response = await infer(http, "m", [[1.0] * 4])
        assert answer(response) == [[2.0] * 4]
        assert response.headers["connection"] == "close"
        await stopping


# The table of statuses


@pytest.mark.parametrize(
    ("asks", "status", "message"),
    [
        ("POST /v2/models/nope/infer", 404, "model 'nope' is not known"),
        ("POST /v2/models/m/versions/9/infer", 404, "has no version '9'; it has 1"),
        ("GET /v2/models/nope", 404, "model 'nope' is not known"),
        ("GET /v2/models/nope/ready", 404, "model 'nope' is not known"),
        ("GET /v2/models/nope/stats", 404, "model 'nope' is not known"),
        ("POST /v2/repository/models/nope/load", 404, "model 'nope' is not known"),
        ("POST /v2/repository/models/nope/unload", 404, "model 'nope' is not known"),
        ("GET /nope", 404, "nothing is served at /nope"),
        ("GET /v2/models/m/infer", 405, "is served by POST"),
        ("DELETE /v2", 405, "is served by GET"),
    ],
)
async def test_what_is_not_there(folder_of: MakeFolder, graphs: Any, asks: str, status: int, message: str) -> None:
    method, path = asks.split()
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        content = json.dumps(asked([[1.0] * 4])) if path.endswith("infer") else None
        response = await http.request(method, path, content=content)
        assert response.status_code == status
        assert message in response.json()["error"]
        assert response.headers.get("allow") == {405: message.rsplit(maxsplit=1)[-1]}.get(status)


BAD: list[tuple[bytes, str]] = [
    (b"", "the body is not JSON"),
    (b"{", "the body is not JSON"),
    (b"[1]", "the body must be an object"),
    (b"{}", "inputs must be a list"),
    (b'{"inputs": []}', "inputs must hold at least one tensor"),
    (b'{"inputs": [1]}', "an input must be an object"),
    (b'{"inputs": [{"datatype": "FP32"}]}', "an input needs a name"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], name="z")]}).encode(), "z: the model has no such input; expected one"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], datatype="FP99")]}).encode(), "x: datatype 'FP99' is unknown"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], datatype="INT64")]}).encode(), "x: its dtype is int64; expected FP32"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], shape=[1, 5])]}).encode(), "x: its data has shape [4]"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], shape="4")]}).encode(), "x: its shape is not a list"),
    (json.dumps({"inputs": [tensor([[1.0] * 5])]}).encode(), "x: its shape is [1, 5]; expected FP32 [-1, 4]"),
    (json.dumps({"inputs": [tensor([1.0] * 4)]}).encode(), "x: its rank is 1; expected rank 2"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], data=["a"] * 4)]}).encode(), "x: element [0] is a string"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], data=[None] * 4)]}).encode(), "x: element [0] is null"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], data=[True] * 4)]}).encode(), "x: element [0] is a boolean"),
    (json.dumps({"inputs": [tensor([[1.0] * 4], data=[1e39] * 4)]}).encode(), "x: element [0] is out of range"),
    (json.dumps({"inputs": [tensor([[1.0] * 4])] * 2}).encode(), "x: it is given twice"),
    (json.dumps(asked([[1.0] * 4], id=7)).encode(), "id must be a string"),
    (json.dumps(asked([[1.0] * 4], outputs=[{"name": "z"}])).encode(), "z: the task has no such output"),
    (json.dumps(asked([[1.0] * 4], parameters={"timeout": -1})).encode(), "parameter 'timeout' is -1"),
    (json.dumps(asked([[1.0] * 4], parameters={"latency_ms": "soon"})).encode(), "parameter 'latency_ms' is 'soon'"),
    (json.dumps(asked([[1.0] * 4], parameters={"priority": 1e99})).encode(), "parameter 'priority' is 1e+99"),
    (json.dumps(asked([[1.0] * 4], parameters={"min_accuracy": 2})).encode(), "parameter 'min_accuracy' is 2"),
    (
        json.dumps(asked([[1.0] * 4], parameters={"min_accuracy": 0.9})).encode(),
        "there is no variant 1 that is as accurate as 0.9",
    ),
    (json.dumps(asked([[1.0] * 4], parameters={"a": []})).encode(), "parameter 'a' of the request must be a string"),
]


@pytest.mark.parametrize(("body", "message"), BAD, ids=[message[:40] for _, message in BAD])
async def test_bad_input_is_named_and_changes_nothing(
    folder_of: MakeFolder, graphs: Any, body: bytes, message: str
) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        response = await http.post("/v2/models/m/infer", content=body)
        assert response.status_code == 400, response.text
        assert message in response.json()["error"]
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]


@pytest.mark.parametrize("length", ["x", "-1", "9" * 30, "99999"])
async def test_a_binary_header_that_cannot_be_is_refused(folder_of: MakeFolder, graphs: Any, length: str) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        response = await http.post(
            "/v2/models/m/infer", content=b"{}", headers={"Inference-Header-Content-Length": length}
        )
        assert response.status_code == 400
        assert "Inference-Header-Content-Length is" in response.json()["error"]


async def test_a_body_that_is_too_large_is_refused(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)}), body_limit=1000) as http:
        response = await http.post("/v2/models/m/infer", content=b"x" * 5_000_000)
        assert response.status_code == 413
        assert "larger than 1000 bytes" in response.json()["error"]
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]


async def test_bodies_that_are_too_many_together_are_refused_until_others_are_answered(
    folder_of: MakeFolder, graphs: Any, gate: Gate
) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)}), bodies_limit=150) as http:
        running = await gate.occupy(http, "m", [[1.0] * 4])
        response = await infer(http, "m", [[1.0] * 4])
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.headers["connection"] == "close"
        gate.open()
        await asyncio.gather(*running)
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]
        assert (await http.post("/v2/models/m/infer", content=b"x" * 151)).status_code == 413


async def test_connections_that_are_too_many_are_turned_away(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)}), connections=1) as http:
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]
        reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        turned_away = await reader.read()
        assert turned_away.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in turned_away
        writer.close()
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]


async def test_no_capacity_in_time_is_refused_with_when_to_try_again(
    folder_of: MakeFolder, graphs: Any, gate: Gate
) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        running = await gate.occupy(http, "m", [[1.0] * 4], [[1.0] * 4])
        response = await infer(http, "m", [[1.0] * 4], parameters={"latency_ms": 51})
        assert response.status_code == 429
        assert response.headers["retry-after"] == "1"
        assert 0 < response.json()["retry_after_s"] < 1
        gate.open()
        await asyncio.gather(*running)
        assert gate.rows == [[1], [1]]


@pytest.mark.parametrize("deadline", [{"latency_ms": 5}, {"timeout": 1}])
async def test_what_no_run_can_hold_is_not_to_be_tried_again(
    folder_of: MakeFolder, graphs: Any, gate: Gate, deadline: dict[str, float]
) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        response = await infer(http, "m", [[1.0] * 4], parameters=deadline)
        assert response.status_code == 504
        assert "retry-after" not in response.headers
        assert gate.rows == []


async def test_what_waited_too_long_never_runs(folder_of: MakeFolder, graphs: Any, gate: Gate) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        running = await gate.occupy(http, "m", [[1.0] * 4], [[1.0] * 4])
        response = await infer(http, "m", [[1.0] * 4] * 7, parameters={"timeout": 300_000})
        assert response.status_code == 504
        assert "cannot be done by its deadline" in response.json()["error"]
        gate.open()
        await asyncio.gather(*running)
        assert [7] not in gate.rows


async def test_a_model_that_is_broken_is_the_servers_fault_and_its_own(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"bad": b"no graph", "m": graphs.scaled(2.0)})) as http:
        response = await infer(http, "bad", [[1.0] * 4])
        assert response.status_code == 500
        assert "bad version 1 cannot be loaded" in response.json()["error"]
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:1"}, 200),
        ({"host": "evil.example"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"host": "localhost", "origin": "http://localhost"}, 200),
    ],
)
async def test_pages_of_other_sites_are_refused(
    folder_of: MakeFolder, graphs: Any, headers: dict[str, str], status: int
) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        response = await http.post("/v2/models/m/infer", json=asked([[1.0] * 4]), headers=headers)
        assert response.status_code == status


# The repository


async def test_health_metadata_and_readiness(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        assert (await http.get("/v2/health/live")).json() == {"live": True}
        assert (await http.get("/v2/health/ready")).json() == {"ready": True}
        for path in ("/v2", "/v2/"):
            assert (await http.get(path)).json()["name"] == "modelless"
        document = (await http.get("/v2/models/m/versions/1")).json()
        assert document["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
        assert (await http.get("/v2/models/m/ready")).json() == {"name": "m", "ready": True}
        head = await http.head("/v2/models/m")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) == len(json.dumps(document, separators=(",", ":")))


async def test_its_version_is_looked_up_once(
    folder_of: MakeFolder, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr("importlib.metadata.version", lambda name: looked.append(name) or "7.8.9")
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        _version.cache_clear()
        for _ in range(3):
            assert (await http.get("/v2")).json()["version"] == "7.8.9"
        assert looked == ["modelless"]
        _version.cache_clear()


async def test_models_are_loaded_and_unloaded_as_asked_and_on_demand(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0), "n": graphs.scaled(3.0)}), load=("none",)) as http:

        async def index(**wanted: Any) -> dict[str, str]:
            rows = (await http.post("/v2/repository/index", json=wanted)).json()
            return {row["name"]: row["state"] for row in rows}

        assert await index() == {"m": "UNAVAILABLE", "n": "UNAVAILABLE"}
        assert (await http.get("/v2/models/m/ready")).status_code == 503
        assert (await http.post("/v2/repository/models/m/load")).status_code == 200
        assert await index(ready=True) == {"m": "READY"}
        response = await infer(http, "n", [[1.0] * 4])
        assert response.json()["parameters"]["loaded"]
        assert await index() == {"m": "READY", "n": "READY"}
        for _ in range(2):
            assert (await http.post("/v2/repository/models/m/unload", json={})).status_code == 200
        assert await index() == {"m": "UNAVAILABLE", "n": "READY"}
        assert answer(await infer(http, "m", [[1.0] * 4])) == [[2.0] * 4]


async def test_what_would_only_take_the_place_of_another_is_left_to_whoever_asks(
    folder_of: MakeFolder, graphs: Any
) -> None:
    models = {name: graphs.linear(WIDE) for name in "abcd"}
    async with container(folder_of(models | {"a": b"no graph"}), memory_mb=6) as http:
        rows = (await http.post("/v2/repository/index")).json()
        assert [row["state"] for row in rows] == ["UNAVAILABLE", "UNAVAILABLE", "READY", "UNAVAILABLE"]
        assert answer(await infer(http, "d", [[1.0] * 1024])) == [[1.0] * 1024]


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/m/load"])
async def test_a_body_that_is_no_object_is_refused(folder_of: MakeFolder, graphs: Any, path: str) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        response = await http.post(path, content=b"[1]")
        assert response.status_code == 400


async def test_what_does_not_fit_beside_what_is_pinned_is_refused(folder_of: MakeFolder, graphs: Any) -> None:
    models = {name: graphs.linear(WIDE) for name in "abc"}
    async with container(folder_of(models), memory_mb=11, load=("a", "b")) as http:
        response = await infer(http, "c", [[1.0] * 1024])
        assert response.status_code == 507
        assert "c version 1 needs" in response.json()["error"]
        await http.post("/v2/repository/models/a/unload")
        assert answer(await infer(http, "c", [[1.0] * 1024])) == [[1.0] * 1024]


async def test_statistics_in_tritons_form(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0), "n": graphs.scaled(3.0)})) as http:
        for rows in (1, 2):
            await infer(http, "m", [[1.0] * 4] * rows)
        await infer(http, "m", [[1.0] * 5])
        for path in ("/v2/models/m/stats", "/v2/models/m/versions/1/stats"):
            (stats,) = (await http.get(path)).json()["model_stats"]
            assert (stats["name"], stats["version"], stats["inference_count"], stats["execution_count"]) == (
                "m",
                "1",
                3,
                2,
            )
            assert [batch["batch_size"] for batch in stats["batch_stats"]] == [1, 2]
        everything = (await http.get("/v2/models/stats")).json()["model_stats"]
        assert [stats["name"] for stats in everything] == ["m", "n"]


async def test_metrics(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        await infer(http, "m", [[1.0] * 4])
        response = await http.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'modelless_container_requests_total{model="m",version="1",outcome="answered"} 1' in response.text
        assert "modelless_container_loaded 1" in response.text


async def test_a_repository_that_fails_once_is_followed_all_the_same(
    folder_of: MakeFolder, graphs: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heads = iter((UnknownModel("expected"), ZeroDivisionError("unforeseen"), 1))
    refreshed = asyncio.Event()

    def head(self: Folder) -> int:
        newest = next(heads, 1)
        if isinstance(newest, Exception):
            raise newest
        return newest

    async def refresh(self: Models) -> None:
        refreshed.set()

    monkeypatch.setattr("runtime.server.FOLLOW_S", 0.001)
    monkeypatch.setattr(Folder, "head", head)
    monkeypatch.setattr(Models, "refresh", refresh)
    async with container(folder_of({"m": graphs.scaled(2.0)})):
        await refreshed.wait()
    assert "cannot be read: expected" in caplog.text
    assert "ZeroDivisionError: unforeseen" in caplog.text


# SageMaker


async def test_one_model_answers_invocations(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        assert (await http.get("/ping")).status_code == 200
        assert answer(await http.post("/invocations", json=asked([[1.0] * 4]))) == [[2.0] * 4]
        attributes = {"X-Amzn-SageMaker-Custom-Attributes": "decision_id=7"}
        for inputs in ({"x": [[1.0] * 4]}, [[1.0] * 4]):
            response = await http.post("/invocations", json={"inputs": inputs}, headers=attributes)
            assert response.json()["outputs"] == {"y": [[2.0] * 4]}
            assert response.headers["x-amzn-sagemaker-custom-attributes"] == "decision_id=7"


async def test_the_one_model_is_not_looked_up_with_each_invocation(
    folder_of: MakeFolder, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    names = Models.names
    monkeypatch.setattr(Models, "names", lambda self: looked.append(1) or names(self))
    monkeypatch.setattr("runtime.container.sagemaker.LOOK_S", PATIENCE_S)
    async with container(folder_of({"m": graphs.scaled(2.0)}), load=("none",)) as http:
        for _ in range(3):
            assert answer(await http.post("/invocations", json=asked([[1.0] * 4]))) == [[2.0] * 4]
        assert len(looked) == 1


async def test_binary_tensors_come_through_sagemaker(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        described = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
        header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
        kind = "application/vnd.sagemaker-triton.binary+json;json-header-size="
        response = await http.post(
            "/invocations",
            content=header + np.float32([1, 2, 3, 4]).tobytes(),
            headers={"content-type": f"{kind}{len(header)}"},
        )
        length = int(response.headers["content-type"].removeprefix(kind))
        assert np.frombuffer(response.content[length:], np.float32).tolist() == [2, 4, 6, 8]


async def test_of_several_models_invocations_must_name_one(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0), "n": graphs.scaled(3.0)})) as http:
        response = await http.post("/invocations", json=asked([[1.0] * 4]))
        assert response.status_code == 400
        assert "name one in X-Amzn-SageMaker-Custom-Attributes: model=NAME" in response.json()["error"]
        named = {"X-Amzn-SageMaker-Custom-Attributes": "decision_id=7; model=n"}
        assert answer(await http.post("/invocations", json=asked([[1.0] * 4]), headers=named)) == [[3.0] * 4]


async def test_a_model_is_loaded_and_unloaded_by_custom_attributes(folder_of: MakeFolder, graphs: Any) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0), "n": graphs.scaled(3.0)}), load=("none",)) as http:

        async def act(attributes: str) -> httpx.Response:
            return await http.post("/invocations", headers={"X-Amzn-SageMaker-Custom-Attributes": attributes})

        assert (await act("model=m;action=load")).json() == {"models": [{"modelName": "m"}]}
        assert (await act("model=n;action=load")).json() == {"models": [{"modelName": "m"}, {"modelName": "n"}]}
        for _ in range(2):
            assert (await act("model=m;action=unload")).json() == {"models": [{"modelName": "n"}]}
        assert (await act("model=none;action=load")).status_code == 404
        for attributes in ("model=m;action=stop", "action=load"):
            refused = await act(attributes)
            assert refused.status_code == 400
            assert "is not one of load, unload of a model=NAME" in refused.json()["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": {"z": [1]}}, "z: the task has no such input"),
        ({"inputs": {"x": [["a"] * 4]}}, "x: element [0, 0] is a string"),
        ({"inputs": 5}, "inputs: it is not an object"),
        ({"inputs": [[1.0] * 4], "slo": 5}, "slo must be an object"),
        ({"inputs": [[1.0] * 4], "slo": {"latency_ms": -1}}, "parameter 'latency_ms' is -1"),
        ({}, "inputs must be a list"),
        ([], "the body must be an object"),
    ],
)
async def test_bad_invocations_are_named(folder_of: MakeFolder, graphs: Any, body: Any, message: str) -> None:
    async with container(folder_of({"m": graphs.scaled(2.0)})) as http:
        response = await http.post("/invocations", json=body)
        assert response.status_code == 400
        assert message in response.json()["error"]


@pytest.fixture
def elsewhere(folder_of: MakeFolder, graphs: Any) -> Path:
    """A folder as SageMaker leaves models in it: five of four megabytes, one without a graph."""
    root = folder_of({f"m{i}/model": graphs.linear(WIDE * (i + 1)) for i in range(5)})
    (root / "none" / "model").mkdir(parents=True)
    return root


async def test_many_models_are_loaded_listed_asked_and_unloaded(elsewhere: Path) -> None:
    async with container(elsewhere, multi_model=True) as http:

        async def load(name: str, path: str | None = None) -> httpx.Response:
            url = str(elsewhere / (path or f"{name}/model"))
            return await http.post("/models", json={"model_name": name, "url": url})

        row = asked([[1.0] * 1024])
        target = {"X-Amzn-SageMaker-Target-Model": "any.tar.gz"}
        assert (await http.get("/models")).json() == {"models": []}
        assert (await http.post("/models/m1/invoke", json=row, headers=target)).status_code == 404
        for i in range(3):
            assert (await load(f"m{i}")).status_code == 200
        assert (await load("m1")).status_code == 409
        assert answer(await http.post("/models/m1/invoke", json=row, headers=target)) == [[2.0] * 1024]

        first = (await http.get("/models", params={"limit": 2})).json()
        assert [model["modelName"] for model in first["models"]] == ["m0", "m1"]
        rest = (await http.get("/models", params={"next_page_token": first["nextPageToken"]})).json()
        assert rest == {"models": [{"modelName": "m2", "modelUrl": str(elsewhere / "m2/model")}]}
        assert (await http.get("/models/m1")).json() == {"modelName": "m1", "modelUrl": str(elsewhere / "m1/model")}

        assert (await http.delete("/models/m1")).status_code == 200
        for method, path in (("GET", "/models/m1"), ("DELETE", "/models/m1"), ("POST", "/models/m1/invoke")):
            assert (await http.request(method, path, content=json.dumps(row))).status_code == 404
        assert (await load("m1")).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the body must be an object with model_name and url"),
        ({"url": "/x"}, "model_name must be a text"),
        ({"model_name": "a", "url": ""}, "url must be a text"),
        ({"model_name": "a" * 1025, "url": "/x"}, "model_name has 1025 characters; give at most 1024"),
        ({"model_name": "a", "url": "/x\0"}, "is no path: embedded null byte"),
        ({"model_name": "a", "url": "../../../etc"}, "does not lie below"),
        ({"model_name": "a", "url": "astray"}, "does not lie below"),
        ({"model_name": "a", "url": "/etc"}, "does not lie below"),
        ({"model_name": "a", "url": "none/model"}, "holds no ONNX model"),
    ],
)
async def test_what_cannot_be_loaded_is_named(elsewhere: Path, body: Any, message: str) -> None:
    (elsewhere / "astray").symlink_to("/etc")
    if isinstance(body, dict) and body.get("url") in ("none/model", "astray"):
        body = body | {"url": str(elsewhere / body["url"])}
    async with container(elsewhere, multi_model=True) as http:
        response = await http.post("/models", json=body)
        assert response.status_code == 400
        assert message in response.json()["error"]


@pytest.mark.parametrize("query", [{"limit": "x"}, {"next_page_token": "-1"}])
async def test_a_page_that_is_no_number_is_refused(elsewhere: Path, query: dict[str, str]) -> None:
    async with container(elsewhere, multi_model=True) as http:
        assert (await http.get("/models", params=query)).status_code == 400


async def test_sagemakers_models_are_not_evicted_for_one_another(elsewhere: Path) -> None:
    async with container(elsewhere, multi_model=True, memory_mb=11) as http:
        statuses = []
        for i in range(3):
            document = {"model_name": f"m{i}", "url": str(elsewhere / f"m{i}/model")}
            statuses.append((await http.post("/models", json=document)).status_code)
        assert statuses == [200, 200, 507]
        await http.delete("/models/m0")
        again = await http.post("/models", json={"model_name": "m2", "url": str(elsewhere / "m2/model")})
        assert again.status_code == 200


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "none are given, and .* is no folder; put model.onnx into"),
        (b"", "no model in .* could be loaded; put model.onnx into"),
        (b"no graph", "no model in .* could be loaded; put model.onnx into"),
    ],
)
async def test_without_its_one_model_it_does_not_answer_sagemakers_ping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bytes | None, message: str
) -> None:
    place = tmp_path / "model"
    monkeypatch.setattr("runtime.server.SAGEMAKER_MODEL", place)
    if found is not None:
        place.mkdir()
    if found:
        (place / "model.onnx").write_bytes(found)
    with pytest.raises(InvalidValue, match=message):
        await serving(Settings(port=0)).__aenter__()


async def test_sagemakers_one_model_is_served_and_need_not_be_loaded_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graphs: Any
) -> None:
    (tmp_path / "model.onnx").write_bytes(graphs.scaled(2.0))
    monkeypatch.setattr("runtime.server.SAGEMAKER_MODEL", tmp_path)
    for load in ("all", "none"):
        async with serving(Settings(port=0, load=(load,))) as address, httpx.AsyncClient(base_url=address.url) as http:
            assert (await http.get("/ping")).status_code == 200
            assert answer(await http.post("/invocations", json=asked([[1.0] * 4]))) == [[2.0] * 4]


async def test_a_starting_container_says_so(
    folder_of: MakeFolder, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def slow(*_: Any) -> Any:
        loading.set()
        assert go_on.wait(PATIENCE_S)
        return ()

    monkeypatch.setattr("runtime.container.probe._measured", slow)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = serving(Settings(models=folder_of({"m": graphs.scaled(2.0)}), port=port))
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        starting = asyncio.create_task(server.__aenter__())
        await asyncio.to_thread(loading.wait, PATIENCE_S)
        paths = ("/ping", "/v2/health/ready", "/v2/health/live")
        assert [(await http.get(path)).status_code for path in paths] == [503, 503, 200]
        go_on.set()
        await starting
        assert [(await http.get(path)).status_code for path in paths] == [200, 200, 200]
        await server.__aexit__(None, None, None)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What a container froze is collected again: other tests count on it."""
    yield
    gc.unfreeze()
