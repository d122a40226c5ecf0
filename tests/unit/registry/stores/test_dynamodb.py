"""DynamoDB, with publishers interleaved call by call: what a reader sees between any two of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from registry.catalogue import Catalogue
from registry.errors import Conflict, DigestMismatch, Unavailable
from registry.model import Recipe, Task
from registry.stores import dynamodb
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_table import DynamoTable

pytestmark = pytest.mark.usefixtures("aws")


class Interposed:
    """A boto3 client that runs `before(item)` ahead of each put_item."""

    def __init__(self, client: Any, before: Callable[[dict[str, Any]], Any]) -> None:
        self.client, self.before = client, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def put_item(self, **request: Any) -> Any:
        self.before(request["Item"])
        return self.client.put_item(**request)


def _is_release(item: dict[str, Any]) -> bool:
    return bool(item["pk"]["S"] == "CATALOGUE")


@pytest.fixture
def client(table: DynamoTable) -> Any:
    return table.client


@pytest.fixture
def store(client: Any) -> DynamoStore:
    return DynamoStore("facts", client=client)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "CHUNK_BYTES", 200)


def _items(client: Any) -> list[str]:
    pages = client.get_paginator("scan").paginate(TableName="facts")
    found = [item for page in pages for item in page["Items"]]
    return sorted(item["pk"]["S"].partition("#")[0] + "/" + item["sk"]["S"] for item in found)


@pytest.mark.usefixtures("small_chunks")
def test_a_release_is_invisible_until_its_last_write(client: Any, store: DynamoStore, catalogue: Catalogue) -> None:
    first = store.publish(catalogue)
    seen: list[Catalogue] = []
    publisher: Any = Interposed(client, before=lambda item: seen.append(store.load()))
    second = DynamoStore("facts", client=publisher).publish(first.without_task("empty"))
    assert len(seen) > 3
    assert all(catalogue == first for catalogue in seen)
    assert store.load() == second


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_publisher_that_dies_half_way_changes_nothing(
    client: Any, store: DynamoStore, catalogue: Catalogue, writes: int
) -> None:
    first = store.publish(catalogue)
    left = iter(range(writes))

    def die(item: dict[str, Any]) -> None:
        if next(left, None) is None:
            raise EndpointConnectionError(endpoint_url="https://dynamodb")

    publisher: Any = Interposed(client, before=die)
    with pytest.raises(Unavailable, match="DynamoDB table facts"):
        DynamoStore("facts", client=publisher).publish(first)
    assert store.head() == len(store.history()) == 1
    assert store.load() == first
    assert store.publish(first).version == 2


@pytest.mark.usefixtures("small_chunks")
def test_the_loser_of_a_race_conflicts_and_leaves_nothing_behind(
    client: Any, store: DynamoStore, catalogue: Catalogue, make_task: Callable[..., Task]
) -> None:
    winner: list[Catalogue] = []

    def win_first(item: dict[str, Any]) -> None:
        if _is_release(item):
            winner.append(store.publish(catalogue.with_tasks(make_task("theirs"))))

    loser: Any = Interposed(client, before=win_first)
    with pytest.raises(Conflict) as caught:
        DynamoStore("facts", client=loser).publish(catalogue.with_tasks(make_task("ours")))
    assert (caught.value.expected, caught.value.actual) == (0, 1)
    assert store.load() == winner[0]
    snapshot = client.get_item(TableName="facts", Key={"pk": {"S": "CATALOGUE"}, "sk": {"S": "RELEASE#0000000001"}})
    partitions = {item["pk"]["S"] for item in client.scan(TableName="facts")["Items"]}
    assert {partition.rpartition("#")[0] or partition for partition in partitions} <= {
        "CATALOGUE",
        "SNAPSHOT",
        snapshot["Item"]["snapshot"]["S"],
    }
    assert len(partitions) == 1 + dynamodb.COPIES


def test_a_write_whose_answer_was_lost_and_that_is_tried_again_still_counts_as_ours(
    client: Any, store: DynamoStore, catalogue: Catalogue
) -> None:
    twice: Any = Interposed(
        client, before=lambda item: client.put_item(TableName="facts", Item=item) if _is_release(item) else None
    )
    published = DynamoStore("facts", client=twice).publish(catalogue)
    assert published.version == 1
    assert store.load() == published


def test_a_snapshot_larger_than_an_item_and_than_a_page_is_kept_in_chunks(
    client: Any, store: DynamoStore, catalogue: Catalogue
) -> None:
    noise = random.Random(7)
    variant = catalogue.variants["digits/linear"]
    recipe = Recipe("noise", parameters=(("bytes", noise.randbytes(1_600_000).hex()),))
    published = store.publish(catalogue.with_variants(replace(variant, recipe=recipe)))
    chunks = [item for item in _items(client) if item.startswith("SNAPSHOT/")]
    assert len(chunks) >= 5
    assert chunks[0] == "SNAPSHOT/CHUNK#0000"
    assert store.load() == published


@pytest.mark.usefixtures("small_chunks")
def test_a_snapshot_is_read_while_a_copy_of_it_is_whole(client: Any, store: DynamoStore, catalogue: Catalogue) -> None:
    published = store.publish(catalogue)
    chunks = [i for i in client.scan(TableName="facts")["Items"] if i["sk"]["S"] == "CHUNK#0001"]
    assert len(chunks) == dynamodb.COPIES > 1
    for chunk in chunks:
        assert [store.load() for _ in range(3)] == [published] * 3
        client.delete_item(TableName="facts", Key={"pk": chunk["pk"], "sk": chunk["sk"]})
    with pytest.raises(DigestMismatch):
        store.load()


def test_a_snapshot_from_before_there_were_copies_is_read(
    client: Any, store: DynamoStore, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(dynamodb, "COPIES", 1)
        published = store.publish(catalogue)
    client.update_item(
        TableName="facts",
        Key={"pk": {"S": "CATALOGUE"}, "sk": {"S": "RELEASE#0000000001"}},
        UpdateExpression="REMOVE copies",
    )
    assert [store.load() for _ in range(8)] == [published] * 8


def test_history_and_head_stay_right_past_nine_releases(store: DynamoStore) -> None:
    catalogue = Catalogue.empty()
    for _ in range(12):
        catalogue = store.publish(catalogue)
    assert store.head() == 12
    assert [r.version for r in store.history()] == list(range(1, 13))


def test_a_missing_table_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no-such-table"):
        DynamoStore("no-such-table").head()
