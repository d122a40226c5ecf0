"""Artifacts by their digests: found where they are stored, in the form that is asked for, beside other models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from registry.blobs.files import Files
from runtime.container.artifacts import Artifacts, Nothing, artifact_name
from runtime.container.repository import Version
from runtime.errors import CorruptArtifact


class Others:
    """A repository of one model."""

    def names(self) -> Sequence[str]:
        return ["digits"]

    def head(self) -> int:
        return 7

    def close(self) -> None:
        pass

    def versions(self, model: str) -> Sequence[Version]:
        return [Version(model, "1", open=lambda threads: pytest.fail("nobody runs it"), stamp=1)]


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Artifacts, str]:
    """Artifacts, and the digest of one that is no manifest."""
    blobs = Files(tmp_path)
    return Artifacts(blobs, Others()), blobs.put(b"{}")


def test_there_need_be_no_other_models(tmp_path: Path) -> None:
    blobs = Files(tmp_path)
    artifacts, digest = Artifacts(blobs, Nothing()), blobs.put(b"{}")
    assert artifacts.names() == artifacts.versions("digits") == []
    assert [version.model for version in artifacts.versions(digest)] == [digest]
    assert artifacts.head() == artifacts.head()
    artifacts.close()


def test_the_other_models_are_as_they_were(stored: tuple[Artifacts, str]) -> None:
    artifacts, _ = stored
    assert (artifacts.names(), artifacts.head()) == (["digits"], 7)
    assert artifacts.versions("digits")[0].stamp == 1


@pytest.mark.parametrize("prepack", [True, False])
def test_an_artifact_is_a_model_of_one_version_that_is_what_its_name_says(
    stored: tuple[Artifacts, str], prepack: bool
) -> None:
    artifacts, digest = stored
    name = artifact_name(digest, prepack=prepack)
    (version,) = artifacts.versions(name)
    assert (version.model, version.stamp, version.accuracy) == (name, name, None)


def test_one_that_is_not_stored_is_not_there(stored: tuple[Artifacts, str]) -> None:
    assert stored[0].versions("blake3:" + "0" * 64) == []


def test_one_that_may_not_run_here_is_not_there(tmp_path: Path) -> None:
    blobs = Files(tmp_path)
    digest, other = blobs.put(b"{}"), blobs.put(b"[]")
    artifacts = Artifacts(blobs, Others(), fits=lambda name: name != digest)
    for prepack in (True, False):
        assert artifacts.versions(artifact_name(digest, prepack=prepack)) == []
        assert len(artifacts.versions(artifact_name(other, prepack=prepack))) == 1


def test_bytes_that_are_no_artifact_are_found_out_when_they_are_opened(stored: tuple[Artifacts, str]) -> None:
    artifacts, digest = stored
    with pytest.raises(CorruptArtifact):
        artifacts.versions(digest)[0].open(1)


@pytest.mark.parametrize("name", ["blake3:" + "0" * 63, "blake3:" + "G" * 64, "blake3:" + "0" * 64 + ":x"])
def test_a_name_that_is_no_digest_is_another_model_s(stored: tuple[Artifacts, str], name: str) -> None:
    assert stored[0].versions(name)[0].stamp == 1
