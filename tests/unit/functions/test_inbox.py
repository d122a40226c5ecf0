"""Inputs by reference: a tenant's own folder and nothing else, whatever a caller writes."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lambda_call import http_event
from functions.api.routes import Routes
from functions.aws.inbox import LIMIT_BYTES, PREFIX, Inbox
from gateway.auth import Principal
from gateway.errors import GatewayError, TooLarge, UnknownTask, Unprocessable
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.aws import make_client
from registry.catalogue import Catalogue
from registry.model import Task, TensorSpec
from registry.tenants import tenant_hash

ACME, GLOBEX = Principal("a", "acme"), Principal("g", "globex")
PREDICT = "/v1/tasks/sum/predict"


class Spy:
    """An S3 client that answers everything, and notes what it was asked."""

    class exceptions:  # noqa: N801 - as the SDK names it
        NoSuchKey = type("NoSuchKey", (Exception,), {})

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self.asked.append((Bucket, Key))
        return {"Body": io.BytesIO(b"[]"), "ContentLength": 2}


HOSTILE = [
    "../globex/" + "0" * 32,
    "0" * 31 + "/",
    "0" * 32 + "\n",
    "0" * 32 + "/../x",
    "٣" * 32,
    "ｆ" * 32,
    "A" * 32,
    "http://169.254.169.254/latest/meta-data/",
    "s3://other/key",
    "file:///etc/passwd",
    "",
]


@given(st.one_of(st.sampled_from(HOSTILE), st.text(), st.from_regex(r"[0-9a-f/.%]{30,36}")), st.text(min_size=1))
def test_no_string_leads_out_of_ones_own_folder(reference: str, tenant: str) -> None:
    spy = Spy()
    try:
        Inbox("bucket", spy).read(Principal("p", tenant), reference)
    except Unprocessable:
        assert spy.asked == []
    else:
        assert spy.asked == [("bucket", f"{PREFIX}{tenant_hash(tenant)}/{reference}")]
        assert len(reference) == 32
        assert set(reference) <= set("0123456789abcdef")


@given(st.one_of(st.sampled_from([*HOSTILE, "f" * 32]), st.text(), st.none(), st.integers(), st.lists(st.text())))
async def test_no_body_does_either(reference: Any) -> None:
    """Through the function's face, as it parses."""
    spy, spec = Spy(), (TensorSpec("x", "FP32", (-1, 2)),)
    service = Service(Snapshots(Catalogue.empty().with_tasks(Task("sum", spec, spec, "accuracy"))), {}, probes=False)
    routes = Routes(service, lambda event: ACME, inbox=Inbox("bucket", spy))
    event = http_event("POST", PREDICT, {"inputs_ref": reference}, None)
    await routes.answer(event, object())
    own = ("bucket", f"{PREFIX}{tenant_hash('acme')}/{reference}")
    assert spy.asked == ([own] if reference == "f" * 32 else [])


@pytest.fixture
def s3(aws: None) -> Any:
    client = make_client("s3")
    client.create_bucket(Bucket="bucket")
    return client


def test_an_offer_is_for_one_object_of_one_size_and_type_and_a_while(s3: Any) -> None:
    offer = Inbox("bucket", s3, wall=lambda: 1000.0).offer(ACME, 123)
    url = urlsplit(offer["url"])

    assert offer["method"] == "PUT"
    assert offer["expires_at"] == 1900.0
    assert url.path.endswith(f"/{PREFIX}{tenant_hash('acme')}/{offer['inputs_ref']}")
    assert offer["headers"] == {"content-type": "application/json", "content-length": "123"}
    query = {name.lower(): values for name, values in parse_qs(url.query).items()}
    assert "content-length" in query["x-amz-signedheaders"][0]
    assert query["x-amz-expires"] == ["900"]


@pytest.mark.parametrize(("nbytes", "error"), [(0, Unprocessable), (-1, Unprocessable), (LIMIT_BYTES + 1, TooLarge)])
def test_a_size_that_cannot_be_is_refused(s3: Any, nbytes: int, error: type[GatewayError]) -> None:
    with pytest.raises(error):
        Inbox("bucket", s3).offer(ACME, nbytes)


def test_what_one_tenant_put_another_does_not_find(s3: Any) -> None:
    inbox = Inbox("bucket", s3)
    reference = inbox.offer(ACME, 2)["inputs_ref"]
    with pytest.raises(UnknownTask):
        inbox.read(ACME, reference)
    s3.put_object(Bucket="bucket", Key=f"{PREFIX}{tenant_hash('acme')}/{reference}", Body=b"[]")

    assert inbox.read(ACME, reference) == b"[]"
    with pytest.raises(UnknownTask):
        inbox.read(GLOBEX, reference)


async def test_a_request_is_answered_by_its_reference(api: Any, s3: Any) -> None:
    api.routes._inbox = Inbox("bucket", s3)
    status, offer = await api("POST", "/v1/inbox", {"bytes": 6})
    assert status == 200
    s3.put_object(Bucket="bucket", Key=urlsplit(offer["url"]).path.lstrip("/").removeprefix("bucket/"), Body=b"[[1,2]]")
    status, answer = await api("POST", PREDICT, {"inputs_ref": offer["inputs_ref"]})

    assert status == 200
    assert answer["outputs"] == {"y": [3.0]}


@pytest.mark.parametrize("body", [{}, {"inputs": [[1, 2]], "inputs_ref": "0" * 32}, {"inputs_ref": "x"}])
async def test_inputs_are_here_or_there(api: Any, body: dict[str, Any], s3: Any) -> None:
    api.routes._inbox = Inbox("bucket", s3)
    status, refused = await api("POST", PREDICT, body)

    assert status == 422
    assert "inputs" in refused["error"]["message"]


async def test_without_an_inbox_there_is_none(api: Any) -> None:
    assert (await api("POST", "/v1/inbox", {"bytes": 6}))[0] == 404
    assert (await api("POST", PREDICT, {"inputs_ref": "0" * 32}))[0] == 404
