"""What a cold start pays for: importing facts must not import the tools that write them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("yaml", "boto3", "botocore", "pydantic", "numpy", "sqlite3", "asyncio", "email", "http", "tempfile", "difflib")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("registry.model", ()),
        ("registry.catalogue", ()),
        ("registry.store", ()),
        ("registry.stores.memory", ()),
        ("registry.artifacts", ()),
        ("registry.prices", ()),
        ("registry.blobs.files", ("tempfile",)),
        ("registry.blobs.s3", ("tempfile",)),
        ("registry.stores.dynamodb", ()),
        ("registry.stores.dynamodb_activity", ()),
        ("registry.stores.dynamodb_sightings", ()),
        ("registry.activity", ()),
        ("registry.stores.sqlite", ("sqlite3",)),
    ],
)
def test_a_module_imports_nothing_heavy(module: str, allowed: tuple[str, ...]) -> None:
    script = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert set(loaded.stdout.split()) & set(HEAVY) <= set(allowed)
