"""Private memory is what pre-packing costs, and what mapping saves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from optimizer import memory
from optimizer.artifact import make_artifact
from optimizer.memory import per_copy_mb
from registry.blobs.files import Files
from runtime.session import Session

ROOT = Path(__file__).resolve().parents[3]


MEASURE = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
import numpy as np
from optimizer.memory import per_copy_mb
from registry.blobs.files import Files
from runtime.session import Session

blobs, x = Files(sys.argv[1]), {"x": np.zeros((4, 8), np.float32)}

def measured(copy):
    digest, _, prepack = copy.partition("=")
    return per_copy_mb(partial(Session.open, blobs, digest, threads=1, prepack=prepack == "packed"), x)

# As registration does: one thread of a pool measures all variants.
with ThreadPoolExecutor(1) as pool:
    print(json.dumps(list(pool.map(measured, sys.argv[2:]))))
"""


def sizes(blobs: Path, *copies: str) -> list[float]:
    """Private megabytes of a copy of each `digest=packed` or `digest=mapped`, one after the other.

    In a process of its own: of one that has grown large, the kernel may take other pages meanwhile.
    """
    command = [sys.executable, "-c", MEASURE, str(blobs), *copies]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)
    return found


def test_mapped_weights_are_not_private_and_packed_ones_are(network: Callable[[int], bytes], tmp_path: Path) -> None:
    digest = make_artifact(network(1536), Files(tmp_path))
    packed, unpacked = sizes(tmp_path, f"{digest}=packed", f"{digest}=mapped")
    weights_mb = 4 * 1536 * 1536 / 2**20
    assert packed > 0.8 * weights_mb
    assert unpacked < 0.3 * weights_mb


@pytest.mark.parametrize(
    "held_mb", [(100.0, 109.0, 118.0, 118.1), (100.0, 91.0, 100.0, 109.0), (100.0, 140.0, 149.0, 158.0)]
)
def test_one_copy_beside_old_memory_or_garbage_does_not_count(
    network: Callable[[int], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_mb: tuple[float, ...]
) -> None:
    blobs = Files(tmp_path)
    opened = partial(Session.open, blobs, make_artifact(network(8), blobs), threads=1, prepack=True)
    monkeypatch.setattr(memory, "private_mb", partial(next, iter(held_mb)))
    assert per_copy_mb(opened, {"x": np.zeros((4, 8), np.float32)}) == 9.0


def test_a_variant_after_a_larger_one_has_its_own_size(network: Callable[[int], bytes], tmp_path: Path) -> None:
    digests = [make_artifact(network(width), Files(tmp_path)) for width in (1024, 1536, 2048, 1536)]
    assert sizes(tmp_path, *(f"{digest}=packed" for digest in digests))[3] > 0.8 * 4 * 1536 * 1536 / 2**20
