"""What state costs and where it is hot: the benchmark's count, for loads that stand for larger ones."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.state import DOCUMENTED, LARGE, READS_PER_S, WRITES_PER_S, Case, played
from benchmarks.state_calls import CountedTable
from registry.prices import figures
from registry.stores.dynamodb import COPIES
from registry.stores.snapshots import pack

DESIGN = (Path(__file__).resolve().parents[3] / "docs" / "design.md").read_text()


def documented(row: str) -> list[float]:
    """The figures of a row of design.md's table of state: reads and writes for a request, and dollars a million."""
    (cells,) = re.findall(rf"^\| {re.escape(row)} \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|$", DESIGN, re.M)
    return [float(cell) for cell in cells]


def test_units_are_counted_as_they_are_billed() -> None:
    now = 0.0
    table = CountedTable(lambda: now)
    for key in ("a", "b"):
        table.put_item(Item={"pk": {"S": "P"}, "sk": {"S": key}, "data": {"S": "x" * 3000}})
    values = {":pk": {"S": "P"}, ":first": {"S": "a"}, ":last": {"S": "b"}}
    for consistent in (True, False):
        found = table.query(ExpressionAttributeValues=values, ConsistentRead=consistent)["Items"]
        assert [item["sk"]["S"] for item in found] == ["a", "b"]

    assert table.calls == {"read": 2, "write": 2}
    # Three kilobytes are three units to write; six are two to read, and half of that where it may be old.
    assert (table.units("write"), table.units("read")) == (6, 3)
    assert table.busiest("write", "P") == 0.6
    assert table.busiest("write", "Q") == 0.0


@pytest.mark.parametrize(
    ("row", "case"),
    [
        ("1 a minute, 1 environment", DOCUMENTED[0]),
        ("1 a second, 2 environments", replace(DOCUMENTED[1], seconds=900.0)),
        ("20 a second, 10 environments", DOCUMENTED[2]),
    ],
)
def test_state_costs_what_is_documented(row: str, case: Case) -> None:
    api, sheet = played(case), figures()["dynamodb"]
    reads, writes, usd = api.each("read"), api.each("write"), api.usd_per_million()

    assert [reads, writes, usd] == pytest.approx(documented(row), rel=0.1, abs=0.006)
    assert usd == pytest.approx(1e6 * (reads * sheet["usd_per_read"] + writes * sheet["usd_per_write"]))


def test_writes_thin_out_as_requests_come() -> None:
    """A write for each request is what no busy platform pays."""
    api = played(Case(100.0, 4, 30.0, tasks=2))

    assert 0 < api.table.calls["write"] < 0.04 * api.requests


def test_no_partition_is_hot_at_ten_thousand_a_second() -> None:
    """40 environments at 10 requests a second each stand for 1,000: a partition's units grow with their number."""
    scale, large = 25, LARGE[-1]
    table = played(replace(large, rate=large.rate / scale, environments=large.environments // scale)).table

    assert table.busiest("write", "SEEN#") > 0
    for prefix in ("CATALOGUE", "ACTIVITY#", "SEEN#"):
        assert scale * table.busiest("write", prefix) < WRITES_PER_S / 2, prefix
    assert scale * table.busiest("read", "CATALOGUE") < READS_PER_S / 2
    # What others saw grows with both how many look and how much there is to see.
    assert scale * scale * table.busiest("read", "SEEN#") < READS_PER_S / 2


def test_a_release_is_everywhere_within_two_seconds() -> None:
    api = played(Case(200.0, 20, 5.0))
    version, at = api.release(), api.now
    while any(environment.version != version for environment in api.environments):
        api.run(0.05, rate=200.0)
        assert api.now - at < 2.0


def test_a_release_can_be_read_by_a_thousand_environments_at_once() -> None:
    """In the seconds after it, each reads one copy: what design.md says of catalogues' sizes."""
    (kilobytes, environments) = re.findall(r"catalogue of (\d+) KB is read by ([\d,]+) environments", DESIGN)[0]
    blocks = int(kilobytes) * 1024 / 4096
    units = int(environments.replace(",", "")) * blocks / 2 / COPIES / 2.0
    catalogue = played(Case(1.0, 1, 1.0)).environments[0].snapshots.view()[0]

    assert units <= READS_PER_S
    assert len(pack(catalogue)) < int(kilobytes) * 1024
