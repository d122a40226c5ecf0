"""The logs of one machine forget what is too old to count, and a file outlives its platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.judgements import JudgementLog, Observation
from registry.stores import judgements
from registry.stores.judgements import MemoryJudgements, SqliteJudgements


def observed(number: int) -> Observation:
    return Observation(f"d{number}", "sum/large", "blake3:a", number, 1, b"h\x01")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_oldest_beyond_what_is_kept_go(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgements, "KEPT", 50)
    log: JudgementLog = MemoryJudgements() if kind == "memory" else SqliteJudgements(tmp_path / "judgements.db")
    log.add([observed(n) for n in range(1, 61)])
    kept = log.last("sum/large", "blake3:a", 100)
    assert (len(kept), kept[0].decision_id) == (50, "d11")
    # What is older than all of them cannot come back by being said again.
    log.add([observed(1)])
    assert log.last("sum/large", "blake3:a", 100) == kept
    log.close()


def test_a_file_knows_after_its_platform_has_gone(tmp_path: Path) -> None:
    log = SqliteJudgements(tmp_path / "judgements.db")
    log.add([observed(1)])
    log.close()
    again = SqliteJudgements(tmp_path / "judgements.db")
    assert again.last("sum/large", "blake3:a", 9) == (observed(1),)
    assert [mark.variant for mark in again.marks()] == ["sum/large"]
    again.close()
