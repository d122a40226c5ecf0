"""Models named by what they are: the digest of any artifact of a blob store; whatever else is asked is another's.

That is how what no catalogue has yet is measured. `blake3:<hex>` has its weights pre-packed, `blake3:<hex>:u` has not.
Whoever asks says what its publisher said of it, as a worker is told: the versions of its objects, and a signature.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence

from registry.blobs import Blobs
from registry.provenance import follow
from runtime.container.repository import ONLY_VERSION, Provenance, Repository, Version
from runtime.errors import Unsigned
from runtime.ort import OrtSession
from runtime.session import open_artifact, reading

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
        verify: Callable[[str, str], None] | None = None,
    ) -> None:
        """`fits` says of a digest whether what it names may run here: what it does not, is not there.

        `verify` is given an artifact's digest and signature before anything of it is read, and raises what
        `KmsSigner.verify` does; without it nothing needs to be signed.
        """
        self._verify = verify
        self._vouched: set[str] = set()
        """Artifacts whose signature and binding need no second look."""
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

    def vouch(self, model: str, provenance: Provenance) -> None:
        """See Vouches; of the other repository's models nothing is said."""
        named = NAME.fullmatch(model)
        if named is None or named[1] in self._vouched or not (self._verify or provenance.binding):
            return
        with reading(named[1]):
            if self._verify:
                self._verify(named[1], provenance.signature)
            if provenance.binding:
                follow(self._blobs, provenance.binding, named[1])
        self._vouched.add(named[1])

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
                lambda threads: self._open(digest, threads, prepack=packed),
                stamp=model,
            )
        ]

    def _open(self, digest: str, threads: int, *, prepack: bool) -> OrtSession:
        if self._verify and digest not in self._vouched:
            raise Unsigned(f"artifact {digest}: nobody has shown its signature here; ask for it with one")
        return open_artifact(self._blobs, digest, threads=threads, prepack=prepack, providers=self._providers)
