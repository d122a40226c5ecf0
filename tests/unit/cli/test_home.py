"""The command line and the gateway mean the same folder by a home."""

from __future__ import annotations

from pathlib import Path

from cli.home import CATALOGUE, opened
from gateway import local


def test_the_catalogue_is_where_the_gateway_keeps_it(tmp_path: Path) -> None:
    local.open_store(tmp_path).close()

    assert CATALOGUE == local.CATALOGUE
    with opened(tmp_path) as store:
        assert store.head() == 0
