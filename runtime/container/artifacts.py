"""Models named by what they are: the digest of any artifact of a blob store; whatever else is asked is another's.

That is how what no catalogue has yet is measured. `blake3:<hex>` has its weights pre-packed, `blake3:<hex>:u` has not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence

from registry.blobs import Blobs
from runtime.container.repository import ONLY_VERSION, Repository, Version
from runtime.session import open_artifact

NAME = re.compile(r"(blake3:[0-9a-f]{64})(:u)?")


def artifact_name(digest: str, *, prepack: bool) -> str:
    """What an artifact is called in a form: weights that are laid out otherwise are another model."""
    return digest if prepack else f"{digest}:u"


class Nothing:
    """A repository without models, where there is nothing beside the artifacts."""

    def names(self) -> Sequence[str]:
        """None."""
        return []

    def versions(self, model: str) -> Sequence[Version]:
        """None of any."""
        return []

    def head(self) -> Hashable:
        """Always the same."""
        return None

    def close(self) -> None:
        """Nothing is kept open."""


class Artifacts:
    """The artifacts of a blob store, beside the models of another repository."""

    def __init__(
        self,
        blobs: Blobs,
        others: Repository,
        *,
        providers: Sequence[str] = ("CPU",),
        fits: Callable[[str], bool] = lambda digest: True,
    ) -> None:
        """`fits` says of a digest whether what it names may run here: what it does not, is not there."""
        self._blobs = blobs
        self._others = others
        self._fits = fits
        self._providers = tuple(providers)

    def names(self) -> Sequence[str]:
        """The other repository's models: nobody asks which artifacts there are."""
        return self._others.names()

    def head(self) -> Hashable:
        """The other repository's: an artifact never changes."""
        return self._others.head()

    def close(self) -> None:
        """Close the other repository."""
        self._others.close()

    def versions(self, model: str) -> Sequence[Version]:
        """The one version of an artifact that is stored here; of other models what the other repository has."""
        named = NAME.fullmatch(model)
        if named is None:
            return self._others.versions(model)
        digest, packed = named[1], named[2] is None
        if not self._blobs.has(digest) or not self._fits(digest):
            return []
        return [
            Version(
                model,
                ONLY_VERSION,
                lambda threads: open_artifact(
                    self._blobs, digest, threads=threads, prepack=packed, providers=self._providers
                ),
                stamp=model,
            )
        ]
