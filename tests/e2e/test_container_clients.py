"""Clients that know nothing of Modelless get right answers from a container: Triton's over HTTP and gRPC, KServe's."""

from __future__ import annotations

import json
import queue
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

KSERVE = "kserve==0.21.0"

TRANSPORTS = ("http", "grpc")
NOT_FOUND = ("404", "StatusCode.NOT_FOUND")
INVALID = ("400", "StatusCode.INVALID_ARGUMENT")
LATE = {"429", "504", "StatusCode.RESOURCE_EXHAUSTED", "StatusCode.DEADLINE_EXCEEDED"}

X = np.float32([[1, 2, 3, 4]])
KINDS: dict[str, Any] = {
    "BOOL": [[True, False]],
    "UINT8": [[0, 255]],
    "UINT16": [[1, 65_535]],
    "UINT32": [[2, 2**32 - 1]],
    "UINT64": [[3, 2**64 - 1]],
    "INT8": [[-128, 127]],
    "INT16": [[-32_768, 4]],
    "INT32": [[-(2**31), 5]],
    "INT64": [[-(2**63), 2**63 - 1]],
    "FP16": [[0.5, -2]],
    "FP32": [[1.1, -3e38]],
    "FP64": [[0.1, 1e308]],
}
DTYPES = {"BOOL": "?", "FP16": "f2", "FP32": "f4", "FP64": "f8"}


class Triton:
    """Triton's client over one transport; metadata alike for both."""

    def __init__(self, transport: str, client: Any) -> None:
        self.grpc = transport == "grpc"
        self.client = client
        self._library = tritonclient.grpc if self.grpc else tritonclient.http

    def infer(self, model: str, binary: bool = True, outputs: tuple[str, ...] = (), **inputs: NDArray[Any]) -> Any:
        return self.client.infer(model, self.tensors(binary, **inputs), outputs=self.outputs(outputs, binary))

    def tensors(self, binary: bool = True, **inputs: NDArray[Any]) -> list[Any]:
        return [self.tensor(name, array, binary) for name, array in inputs.items()]

    def outputs(self, names: tuple[str, ...], binary: bool = True) -> list[Any] | None:
        return [self.output(name, binary) for name in names] or None

    def output(self, name: str, binary: bool) -> Any:
        return self._library.InferRequestedOutput(name, **({} if self.grpc else {"binary_data": binary}))

    def tensor(self, name: str, array: NDArray[Any], binary: bool) -> Any:
        datatype = tritonclient.utils.np_to_triton_dtype(array.dtype)
        tensor = self._library.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, **({} if self.grpc else {"binary_data": binary}))
        return tensor

    def told(self, method: str, *arguments: Any) -> Any:
        """What a method of the client says, as a document."""
        return getattr(self.client, method)(*arguments, **({"as_json": True} if self.grpc else {}))


@pytest.fixture(params=TRANSPORTS)
def triton(request: pytest.FixtureRequest, container: Any) -> Iterator[Triton]:
    with connected(request.param, container) as client:
        yield Triton(request.param, client)


def connected(transport: str, container: Any) -> Any:
    if transport == "grpc":
        return tritonclient.grpc.InferenceServerClient(container.grpc)
    return tritonclient.http.InferenceServerClient(container.host, concurrency=8)


def test_the_server_and_its_models_are_ready(triton: Triton) -> None:
    client = triton.client

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mix")
    assert client.is_model_ready("scale", "2")
    assert not client.is_model_ready("nothing")


def test_the_server_says_what_it_is(triton: Triton) -> None:
    metadata = triton.told("get_server_metadata")

    assert metadata["name"] == "modelless"
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(metadata["extensions"])


def test_a_model_says_what_it_takes_and_gives(triton: Triton) -> None:
    mix, scale = triton.told("get_model_metadata", "mix"), triton.told("get_model_metadata", "scale")

    assert (mix["name"], mix["versions"], mix["platform"]) == ("mix", ["1"], "onnx_onnxv1")
    assert {i["name"]: (i["datatype"], [int(n) for n in i["shape"]]) for i in mix["inputs"]} == {
        "a": ("FP32", [-1, 4]),
        "b": ("FP32", [-1, 4]),
    }
    assert [o["name"] for o in mix["outputs"]] == ["sum", "difference"]
    assert sorted(scale["versions"]) == ["1", "2"]


@pytest.mark.parametrize("binary", [False, True], ids=["typed", "binary"])
@pytest.mark.parametrize("rows", [1, 7])
def test_several_inputs_give_several_outputs(triton: Triton, binary: bool, rows: int) -> None:
    a, b = np.random.default_rng(rows).normal(size=(2, rows, 4)).astype(np.float32)
    result = triton.infer("mix", binary, ("difference", "sum"), a=a, b=b)

    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
    np.testing.assert_array_equal(result.as_numpy("difference"), a - b)


def test_only_the_outputs_that_are_asked_for_are_sent(triton: Triton) -> None:
    result = triton.infer("mix", outputs=("difference",), a=X, b=X)

    np.testing.assert_array_equal(result.as_numpy("difference"), X - X)
    assert result.as_numpy("sum") is None


@pytest.mark.parametrize("binary", [False, True], ids=["typed", "binary"])
def test_every_datatype_comes_back_as_it_was_sent(triton: Triton, binary: bool) -> None:
    sent = {name: np.array(values, DTYPES.get(name, name.lower())) for name, values in KINDS.items()}
    # FP16 has no form in JSON: it goes in binary beside the others.
    ways = {name: binary or name == "FP16" for name in KINDS}
    tensors = [triton.tensor(f"in_{name}", array, ways[name]) for name, array in sent.items()]
    outputs = [triton.output(f"out_{name}", way) for name, way in ways.items()]
    result = triton.client.infer("kinds", tensors, outputs=outputs)

    for name, array in sent.items():
        got = result.as_numpy(f"out_{name}")
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("binary", [False, True], ids=["typed", "binary"])
def test_strings(triton: Triton, binary: bool) -> None:
    names = np.array([["cat", "dog"], ["żółw", ""], ["dog", "a" * 1000]], dtype=object)
    result = triton.infer("pets", binary, ("echo", "number"), name=names)

    echoed = [[e.decode() if isinstance(e, bytes) else e for e in row] for row in result.as_numpy("echo")]
    assert echoed == names.tolist()
    assert result.as_numpy("number").tolist() == [[0, 1], [-1, -1], [1, -1]]


def test_a_version_answers_as_itself(triton: Triton) -> None:
    for version in ("1", "2"):
        result = triton.client.infer("scale", triton.tensors(x=X), model_version=version)
        answer = result.get_response()

        np.testing.assert_array_equal(result.as_numpy("y"), X * int(version))
        assert (answer.model_version if triton.grpc else answer["model_version"]) == version


def test_the_id_is_echoed(triton: Triton) -> None:
    answer = triton.client.infer("scale", triton.tensors(x=X), request_id="r-1").get_response()

    assert (answer.id if triton.grpc else answer["id"]) == "r-1"


def test_hints_are_taken_as_parameters(triton: Triton) -> None:
    tensors = triton.tensors(x=X)
    hints = {"latency_ms": 10_000, "note": "kept out of it"}
    result = triton.client.infer("scale", tensors, timeout=10_000_000, priority=1, parameters=hints)

    np.testing.assert_array_equal(result.as_numpy("y"), X * 2)
    with pytest.raises(InferenceServerException, match="min_accuracy"):
        triton.client.infer("scale", tensors, parameters={"min_accuracy": 7})


WRONG: dict[str, Any] = {
    "an unknown model": (("nothing", {"x": X}), NOT_FOUND, "nothing"),
    "an unknown version": (("scale", {"x": X}, "9"), NOT_FOUND, "9"),
    "an unknown input": (("scale", {"z": X}), INVALID, "z: the model has no such input"),
    "a missing input": (("mix", {"a": X}), INVALID, "b: it is missing"),
    "another shape": (("scale", {"x": X[:, :3]}), INVALID, r"\[1, 3\]"),
    "another datatype": (("scale", {"x": X.astype(np.float64)}), INVALID, "float64"),
    "inputs that disagree": (("mix", {"a": X, "b": X[[0, 0]]}), INVALID, "2 rows"),
    "an unknown output": (("mix", {"a": X, "b": X}, "", ("nothing",)), INVALID, "nothing"),
}


@pytest.mark.parametrize(("asked", "statuses", "says"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said(triton: Triton, asked: tuple[Any, ...], statuses: tuple[str, str], says: str) -> None:
    model, inputs, version, outputs = (*asked, *("", ())[len(asked) - 2 :])
    with pytest.raises(InferenceServerException, match=says) as raised:
        triton.client.infer(model, triton.tensors(**inputs), version, triton.outputs(outputs))

    assert raised.value.status() == statuses[triton.grpc]


def test_a_body_that_is_compressed_is_refused_over_http_and_taken_over_grpc(triton: Triton) -> None:
    tensors = triton.tensors(x=X)
    if triton.grpc:
        result = triton.client.infer("scale", tensors, compression_algorithm="gzip")
        np.testing.assert_array_equal(result.as_numpy("y"), X * 2)
    else:
        with pytest.raises(InferenceServerException, match="content-encoding is gzip") as raised:
            triton.client.infer("scale", tensors, request_compression_algorithm="gzip")
        assert raised.value.status() == "415"


def test_requests_that_come_together_get_their_own_answers(triton: Triton) -> None:
    rows = np.arange(64 * 4, dtype=np.float32).reshape(64, 1, 4)
    if triton.grpc:
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for i, x in enumerate(rows):
            triton.client.async_infer(
                "scale", triton.tensors(x=x), lambda result, error: answers.put((result, error)), request_id=str(i)
            )
        for result, error in (answers.get(timeout=30) for _ in rows):
            assert error is None
            np.testing.assert_array_equal(result.as_numpy("y"), rows[int(result.get_response().id)] * 2)
    else:
        under_way = [triton.client.async_infer("scale", triton.tensors(x=x)) for x in rows]
        for x, one in zip(rows, under_way, strict=True):
            np.testing.assert_array_equal(one.get_result().as_numpy("y"), x * 2)


def test_typed_contents_are_answered_in_kind(container: Any) -> None:
    import grpc
    from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

    request = service_pb2.ModelInferRequest(model_name="pets")
    request.inputs.add(name="name", datatype="BYTES", shape=[1, 2]).contents.bytes_contents.extend([b"dog", b"cow"])
    with grpc.insecure_channel(container.grpc) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)

    assert not answer.raw_output_contents
    contents = {output.name: output.contents for output in answer.outputs}
    assert list(contents["echo"].bytes_contents) == [b"dog", b"cow"]
    assert list(contents["number"].int64_contents) == [1, -1]


def test_the_repository_is_listed_and_models_come_and_go(triton: Triton, serve: Any, models: Path) -> None:
    transport = "grpc" if triton.grpc else "http"
    with connected(transport, serve(models, "--load", "none")) as client:
        one = Triton(transport, client)

        def states() -> dict[tuple[str, str], str]:
            listed = one.told("get_model_repository_index")
            entries = listed["models"] if one.grpc else listed
            return {(entry["name"], entry.get("version", "")): entry.get("state", "") for entry in entries}

        assert {name for name, _ in states()} == {"double", "kinds", "mix", "pets", "scale"}
        assert "READY" not in states().values()
        assert client.is_server_ready()
        assert not client.is_model_ready("pets")

        client.load_model("pets")
        assert client.is_model_ready("pets")
        assert states()["pets", "1"] == "READY"
        assert one.infer("pets", name=np.array([["dog", "?"]], dtype=object)).as_numpy("number").tolist() == [[1, -1]]

        with pytest.raises(InferenceServerException, match="config"):
            client.load_model("pets", config='{"max_batch_size": 1}')

        client.unload_model("pets")
        assert not client.is_model_ready("pets")
        assert states()["pets", "1"] != "READY"
        with pytest.raises(InferenceServerException, match="nothing") as raised:
            client.load_model("nothing")
        assert raised.value.status() == NOT_FOUND[one.grpc]


def test_statistics_count_what_was_asked(triton: Triton, serve: Any, models: Path) -> None:
    transport = "grpc" if triton.grpc else "http"
    with connected(transport, serve(models)) as client:
        one = Triton(transport, client)
        for rows in (1, 2, 3):
            client.infer("scale", one.tensors(x=np.repeat(X, rows, axis=0)), model_version="2")
        with pytest.raises(InferenceServerException):
            client.infer("scale", one.tensors(x=X[:, :2]), model_version="2")
        (found,) = one.told("get_inference_statistics", "scale", "2")["model_stats"]
        everything = one.told("get_inference_statistics")["model_stats"]

    assert (found["name"], found["version"]) == ("scale", "2")
    assert (int(found["inference_count"]), int(found["execution_count"])) == (6, 3)
    assert int(found["inference_stats"]["success"]["count"]) == 3
    assert 0 < int(found["inference_stats"]["compute_infer"]["ns"]) <= int(found["inference_stats"]["success"]["ns"])
    assert {int(batch["batch_size"]): int(batch["compute_infer"]["count"]) for batch in found["batch_stats"]} == {
        1: 1,
        2: 1,
        3: 1,
    }
    assert {entry["name"] for entry in everything} == {"double", "kinds", "mix", "pets", "scale"}


def test_a_deadline_that_cannot_be_held_is_told(triton: Triton) -> None:
    with pytest.raises(InferenceServerException) as raised:
        triton.client.infer("mix", triton.tensors(a=X, b=X), timeout=1)

    assert raised.value.status() in LATE


KSERVE_CLIENT = """
import asyncio, json, sys
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main(url, grpc):
    client = InferenceGRPCClient(grpc) if grpc else InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    at = [] if grpc else [url]
    assert await client.is_server_live(*at) and await client.is_server_ready(*at)
    assert await client.is_model_ready(*at, "mix") and await client.is_model_ready(*at, "pets")
    a = InferInput(name="a", shape=[2, 4], datatype="FP32", data=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    b = InferInput(name="b", shape=[2, 4], datatype="FP32", data=[1.0] * 8)
    pets = [b"dog", b"cow"] if grpc else ["dog", "cow"]
    name = InferInput(name="name", shape=[1, 2], datatype="BYTES", data=pets)
    answers = {}
    for model, inputs in {"mix": [a, b], "pets": [name]}.items():
        request = InferRequest(model_name=model, infer_inputs=inputs, request_id="42")
        answer = await client.infer(*at, request, *([] if grpc else [model]))
        arrays = {o.name: o.as_numpy() for o in answer.outputs}
        answers[model] = {"id": answer.id, **{n: y.tolist() for n, y in arrays.items() if y.dtype != object}}
    print(json.dumps(answers))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_kserve_gets_right_answers(container: Any, environment: Callable[[str], Path], transport: str) -> None:
    address = container.grpc if transport == "grpc" else ""
    done = subprocess.run(
        [environment(KSERVE) / "bin" / "python", "-c", KSERVE_CLIENT, container.url, address],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])

    assert answers["mix"]["id"] == "42"
    assert answers["mix"]["sum"] == [[2, 3, 4, 5], [6, 7, 8, 9]]
    assert answers["mix"]["difference"] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert answers["pets"]["number"] == [[1, -1]]
