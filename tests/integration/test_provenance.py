"""An artifact from a publisher's bucket to a worker's session: its versions, its signature, and what is refused."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from gateway.backends.calls import fault_of
from gateway.backends.container_calls import fault_of as refused_by_container
from gateway.backends.container_calls import provenance_of
from gateway.errors import CorruptArtifact as Quarantines
from optimizer.artifact import make_artifact
from registry.artifacts import read_manifest
from registry.blobs import blob_name
from registry.blobs.files import Files
from registry.blobs.s3 import S3Blobs
from registry.errors import InvalidSignature, InvalidValue
from registry.model import Accuracy, Recipe, Variant
from registry.provenance import bind_artifact, follow
from registry.signing import KmsSigner
from runtime.codecs import wire
from runtime.container.settings import Settings
from runtime.errors import CorruptArtifact, InvalidBody, Unsigned
from runtime.server import _repository, serving
from runtime.worker import Worker

BUCKET = "models"


def adding(number: float) -> bytes:
    """A model that adds a number, with a weight large enough to be a blob of its own."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 4096], [number] * 4096)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "adding",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4096])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4096])],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


@pytest.fixture
def s3(aws: None) -> Any:
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return client


@pytest.fixture
def here(tmp_path: Path) -> Files:
    """The publisher's own blobs."""
    folder = tmp_path / "here"
    folder.mkdir()
    return Files(folder)


@pytest.fixture
def bucket(tmp_path: Path, s3: Any) -> Callable[[str], S3Blobs]:
    """The bucket, behind a cache of one's own."""

    def open_(whose: str) -> S3Blobs:
        return S3Blobs(BUCKET, tmp_path / whose, client=s3)

    return open_


@pytest.fixture
def published(here: Files, bucket: Callable[[str], S3Blobs]) -> tuple[str, str]:
    """An artifact in the bucket, and its binding."""
    artifact, target = make_artifact(adding(1.0), here), bucket("publisher")
    for blob in (*read_manifest(here, artifact).digests, artifact):
        target.put(here.get(blob))
    return artifact, bind_artifact(here, target, artifact)


def event(artifact: str, **more: Any) -> dict[str, Any]:
    inputs = wire.encode({"x": np.zeros((1, 4096), np.float32)})
    return {"kind": "infer", "task": "t", "variant": "t/v", "artifact": artifact, "id": "r", "inputs": inputs, **more}


def answered(worker: Worker, asked: dict[str, Any]) -> float:
    """The first number of the answer."""
    return float(wire.decode(worker.handle(asked)["outputs"])["y"][0, 0])


def replace_all(s3: Any, data: bytes = b"something else") -> None:
    """Overwrite every object in place, as whoever may write to the bucket could."""
    for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.put_object(Bucket=BUCKET, Key=item["Key"], Body=data)


def test_an_object_replaced_in_place_is_never_served_and_takes_nothing_away(
    published: tuple[str, str], bucket: Callable[[str], S3Blobs], s3: Any
) -> None:
    artifact, binding = published
    replace_all(s3)

    with pytest.raises(CorruptArtifact):
        answered(Worker(bucket("by key"), memory_mb=1769, threads=1), event(artifact))
    bound = Worker(bucket("by version"), memory_mb=1769, threads=1)
    assert answered(bound, event(artifact, binding=binding)) == 1.0


def test_a_version_that_is_gone_is_read_by_its_key(
    published: tuple[str, str], bucket: Callable[[str], S3Blobs], s3: Any, here: Files
) -> None:
    artifact, binding = published
    for blob in (*read_manifest(here, artifact).digests, artifact):
        key = "blobs/" + blob_name(blob)
        (version,) = s3.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]
        s3.put_object(Bucket=BUCKET, Key=key, Body=here.get(blob))
        s3.delete_object(Bucket=BUCKET, Key=key, VersionId=version["VersionId"])

    assert answered(Worker(bucket("w"), memory_mb=1769, threads=1), event(artifact, binding=binding)) == 1.0


def test_a_publisher_puts_right_what_was_replaced_before_it_binds(
    published: tuple[str, str], bucket: Callable[[str], S3Blobs], here: Files, s3: Any
) -> None:
    artifact, first = published
    replace_all(s3)
    second = bind_artifact(here, bucket("again"), artifact)

    assert second != first
    assert answered(Worker(bucket("w"), memory_mb=1769, threads=1), event(artifact)) == 1.0


def test_what_is_written_down_is_what_the_bucket_has(
    published: tuple[str, str], bucket: Callable[[str], S3Blobs], here: Files, s3: Any
) -> None:
    import hashlib

    artifact, _ = published
    located = bucket("p").locate(artifact)
    head = s3.head_object(Bucket=BUCKET, Key=located.key)

    assert located.bucket == BUCKET
    assert located.version == head["VersionId"]
    assert located.sha256 == hashlib.sha256(here.get(artifact)).hexdigest()
    assert located.nbytes == head["ContentLength"]


def test_a_bucket_without_versions_binds_nothing(tmp_path: Path, aws: None, here: Files) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket="plain")
    artifact, plain = make_artifact(adding(1.0), here), S3Blobs("plain", tmp_path / "plain", client=client)
    for blob in (*read_manifest(here, artifact).digests, artifact):
        plain.put(here.get(blob))

    assert bind_artifact(here, plain, artifact) == ""


@pytest.mark.parametrize(
    "reference", ["", "@", "blake3:1@v", "../../etc@v", "blake3:" + "0" * 64, "blake3:" + "0" * 64 + "@\n"]
)
def test_a_reference_that_is_none_is_refused(bucket: Callable[[str], S3Blobs], reference: str) -> None:
    with pytest.raises(InvalidValue):
        follow(bucket("w"), reference, "blake3:" + "1" * 64)


def test_a_store_without_versions_has_none_to_follow(here: Files) -> None:
    artifact = make_artifact(adding(1.0), here)
    reference = "blake3:" + "0" * 64 + "@v"

    assert answered(Worker(here, memory_mb=1769, threads=1), event(artifact, binding=reference)) == 1.0


def test_a_binding_is_of_one_artifact(
    published: tuple[str, str], bucket: Callable[[str], S3Blobs], here: Files
) -> None:
    _, binding = published
    other = make_artifact(adding(2.0), here)
    with pytest.raises(CorruptArtifact, match="binding"):
        Worker(bucket("w"), memory_mb=1769, threads=1).handle(event(other, binding=binding))
    with pytest.raises(InvalidBody):
        Worker(bucket("w"), memory_mb=1769, threads=1).handle(event(other, binding=7))


@pytest.fixture
def key(aws: None) -> str:
    made = boto3.client("kms").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    return str(made["KeyMetadata"]["Arn"])


def test_only_what_the_key_signed_is_run(
    published: tuple[str, str], bucket: Callable[[str], S3Blobs], here: Files, key: str
) -> None:
    artifact, binding = published
    signer = KmsSigner(key)
    signature = signer.sign(artifact)
    other = make_artifact(adding(2.0), here)
    for blob in (*read_manifest(here, other).digests, other):
        bucket("attacker").put(here.get(blob))
    foreign = boto3.client("kms").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"]
    worker = Worker(bucket("w"), memory_mb=1769, threads=1, verify=signer.verify)

    assert answered(worker, event(artifact, binding=binding, signature=signature)) == 1.0
    for refused in (
        event(other),
        event(other, signature=signature),
        event(other, signature=KmsSigner(foreign).sign(other)),
        event(other, signature="no base64"),
        event(other, signature=""),
    ):
        with pytest.raises(Unsigned):
            worker.handle(refused)
    assert worker.handle({"kind": "status"})["resident"] == ["t/v"]
    assert answered(worker, event(other, signature=signer.sign(other))) == 2.0


def test_an_unsigned_variant_is_quarantined_by_the_gateway() -> None:
    assert isinstance(fault_of("Unsigned", "artifact: it has no signature"), Quarantines)


def test_a_signature_is_over_artifacts_and_nothing_else(key: str) -> None:
    client = boto3.client("kms")
    raw = client.sign(KeyId=key, Message=b"blake3:1", MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    import base64

    with pytest.raises(InvalidSignature):
        KmsSigner(key).verify("blake3:1", base64.b64encode(raw).decode())


def test_the_key_is_asked_once_for_an_artifact(published: tuple[str, str], bucket: Callable[[str], S3Blobs]) -> None:
    artifact, binding = published
    asked: list[str] = []
    worker = Worker(bucket("w"), memory_mb=1769, threads=1, verify=lambda a, s: asked.append(a))
    for _ in range(3):
        answered(worker, event(artifact, binding=binding))

    assert asked == [artifact]


# The container, by the same rules


@pytest.fixture
async def asking(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """A container of the bucket's artifacts, with a cache of its own."""
    async with AsyncExitStack() as stack:

        async def serve(**settings: Any) -> httpx.AsyncClient:
            monkeypatch.setattr("runtime.server.CACHE", str(tmp_path / uuid.uuid4().hex))
            where = Settings(blobs=f"s3://{BUCKET}/blobs", port=0, cores=1, load=("none",), **settings)
            address = await stack.enter_async_context(serving(where))
            return await stack.enter_async_context(httpx.AsyncClient(base_url=address.url, timeout=60))

        yield serve


async def asked(http: httpx.AsyncClient, artifact: str, **told: Any) -> tuple[int, Any]:
    """The first number of a container's answer, or the class of its fault."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4096], "data": [0.0] * 4096}
    response = await http.post(f"/v2/models/{artifact}/infer", json={"inputs": [tensor], "parameters": told})
    document = response.json()
    return response.status_code, document["outputs"][0]["data"][0] if response.is_success else document["type"]


async def test_a_container_reads_the_versions_that_an_artifact_is_bound_to(
    published: tuple[str, str], asking: Callable[..., Awaitable[httpx.AsyncClient]], s3: Any
) -> None:
    artifact, binding = published
    replace_all(s3)
    assert await asked(await asking(), artifact) == (500, "CorruptArtifact")
    assert await asked(await asking(), artifact, binding=binding) == (200, 1.0)
    for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    assert await asked(await asking(), artifact) == (404, "UnknownModel")
    http = await asking()
    assert await asked(http, artifact, binding=binding) == (200, 1.0)
    assert await asked(http, f"{artifact}:u", binding=binding) == (200, 1.0)


async def test_a_container_takes_no_other_artifacts_binding(
    published: tuple[str, str],
    bucket: Callable[[str], S3Blobs],
    here: Files,
    asking: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    _, binding = published
    other = make_artifact(adding(2.0), here)
    for blob in (*read_manifest(here, other).digests, other):
        bucket("p").put(here.get(blob))
    http = await asking()
    assert await asked(http, other, binding=binding) == (500, "CorruptArtifact")
    assert await asked(http, other, binding=7) == (400, "InvalidBody")
    assert await asked(http, other) == (200, 2.0)


async def test_a_container_with_a_key_runs_only_what_it_signed(
    published: tuple[str, str], asking: Callable[..., Awaitable[httpx.AsyncClient]], key: str
) -> None:
    artifact, binding = published
    foreign = boto3.client("kms").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"]
    http = await asking(signing_key=key)

    for signature in ("", "no base64", KmsSigner(foreign).sign(artifact)):
        assert await asked(http, artifact, binding=binding, signature=signature) == (500, "Unsigned")
    assert await asked(http, artifact) == (500, "Unsigned")
    # However it is asked for.
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": f"model={artifact};action=load"}
    for response in (
        await http.get(f"/v2/models/{artifact}"),
        await http.post(f"/v2/repository/models/{artifact}/load"),
        await http.post("/invocations", headers=attributes),
    ):
        assert (response.status_code, response.json()["type"]) == (500, "Unsigned")
    assert (await http.post("/v2/repository/index", json={"ready": True})).json() == []

    signed = {"signature": KmsSigner(key).sign(artifact), "binding": binding}
    loaded = await http.post("/invocations", headers=attributes, json={"parameters": signed})
    assert loaded.json() == {"models": [{"modelName": artifact}]}
    assert await asked(http, artifact, **signed) == (200, 1.0)
    # Known to be the key's from now on, in either form.
    assert await asked(http, f"{artifact}:u") == (200, 1.0)


async def test_a_container_with_a_key_loads_nothing_from_a_folder(
    published: tuple[str, str],
    asking: Callable[..., Awaitable[httpx.AsyncClient]],
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.server.SAGEMAKER_MODELS", tmp_path / "models")
    model = tmp_path / "models" / "m" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(adding(2.0))
    for name in ("m", published[0]):
        put = {"model_name": name, "url": str(model.parent)}
        assert (await (await asking()).post("/models", json=put)).status_code == 200
        refused = await (await asking(signing_key=key)).post("/models", json=put)
        assert (refused.status_code, refused.json()["type"]) == (500, "Unsigned")


def test_a_container_takes_a_key_for_artifacts_alone(tmp_path: Path) -> None:
    for place in ({"models": tmp_path}, {"home": tmp_path}, {}):
        with pytest.raises(InvalidValue, match="signing_key: only artifacts have signatures"):
            _repository(Settings(signing_key="arn", **place))


def test_what_a_container_refuses_unsigned_is_quarantined_by_the_gateway() -> None:
    assert isinstance(refused_by_container(500, b'{"error": "e", "type": "Unsigned"}'), Quarantines)


def test_a_container_is_told_what_the_publisher_said() -> None:
    accuracy = Accuracy(0.9, 0.9, 0.9, 9, "wilson")
    plain = Variant("t", "v", "blake3:" + "0" * 64, Recipe("t"), accuracy)
    assert provenance_of(plain) == {}
    assert provenance_of(replace(plain, binding="b@1", signature="s")) == {"binding": "b@1", "signature": "s"}
