"""Snapshots as bytes."""

from __future__ import annotations

import json
import zlib

import pytest

from registry.catalogue import Catalogue
from registry.errors import InvalidValue
from registry.stores.snapshots import pack, unpack


def test_a_snapshot_comes_back_and_is_small(catalogue: Catalogue) -> None:
    data = pack(catalogue.at(4))
    assert unpack(data) == catalogue.at(4)
    assert len(data) < len(json.dumps(catalogue.to_document())) / 3


@pytest.mark.parametrize("data", [b"", b"\x00", b"{}", zlib.compress(b"not json"), zlib.compress(b"[1]")])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidValue):
        unpack(data)
