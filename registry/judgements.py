"""What was judged, as frozen values, and the log that keeps it; never says what follows for an accuracy."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from registry.documents import from_document, to_document
from registry.errors import InvalidValue
from registry.model import Accuracy, Variant


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer, held against what it should have been."""

    decision_id: str
    variant: str
    """Id of the variant that answered."""
    artifact: str
    """What it was then: another artifact's answers are another's."""
    at_ms: int
    """When it was decided, in milliseconds since the epoch."""
    rows: int
    evidence: bytes
    """As `optimizer.evidence` packs the rows."""

    @property
    def key(self) -> str:
        """One for each decision, sorted as they were decided."""
        return f"{self.at_ms:013d}#{self.decision_id}"


@dataclass(frozen=True, slots=True)
class Case:
    """What a variant's observations are weighed with."""

    artifact: str
    evaluation: Accuracy
    """What the catalogue said before any of them."""
    after: str = ""
    """Key of the last observation that belongs to an earlier case."""
    published: tuple[Accuracy, ...] = ()
    """What the catalogue said when the last estimate was published, and that estimate."""

    def concerns(self, variant: Variant) -> bool:
        """Whether the variant is what was judged, and nobody else has said how accurate it is."""
        return self.artifact == variant.artifact and variant.accuracy in (self.evaluation, *self.published)


@dataclass(frozen=True, slots=True)
class Mark:
    """A variant of which something was observed since the last mark of it was settled."""

    variant: str
    token: str
    """Another one for each time that it was marked."""


class JudgementLog(Protocol):
    """Keeps observations, at least the last `optimizer.judged.WINDOW` rows of a variant; safe for many at once.

    Every method raises Unavailable when the log cannot be read or written.
    """

    def add(self, observations: Sequence[Observation]) -> tuple[bool, ...]:
        """Keep these and mark their variants; says of each whether it is its decision's first.

        Only the first is kept, so to add any of them again, in whatever order, changes nothing.
        """

    def last(self, variant: str, artifact: str, rows: int, *, after: str = "") -> tuple[Observation, ...]:
        """The last observations after a key that hold so many rows, or all if there are fewer; oldest first."""

    def case(self, variant: str) -> Case | None:
        """What was kept for the variant last."""

    def keep(self, variant: str, case: Case) -> None:
        """Keep this instead of what was kept for the variant before."""

    def marks(self) -> tuple[Mark, ...]:
        """The variants that are marked, by name."""

    def settle(self, mark: Mark) -> None:
        """Take a mark away, unless the variant has been marked again since."""

    def close(self) -> None:
        """Let go of files and connections; the log is of no use afterwards."""


def within(observations: Iterable[Observation], rows: int) -> tuple[Observation, ...]:
    """Of observations that are given newest first, the first that hold so many rows; oldest first."""
    taken: list[Observation] = []
    for observation in observations:
        taken.append(observation)
        rows -= observation.rows
        if rows <= 0:
            break
    return tuple(reversed(taken))


def to_message(observation: Observation) -> str:
    """An observation as JSON text, for a queue."""
    document = {name: getattr(observation, name) for name in Observation.__dataclass_fields__}
    return json.dumps({**document, "evidence": base64.b64encode(observation.evidence).decode()})


def from_message(text: str) -> Observation:
    """The observation of such a text; raises InvalidValue naming what is wrong with it."""
    document = _object(text)
    try:
        document["evidence"] = base64.b64decode(document["evidence"], validate=True)
        observation = Observation(**document)
    except (KeyError, TypeError, binascii.Error) as error:
        raise InvalidValue("message", f"is no observation: {error}", "send what to_message makes") from None
    kinds = {"decision_id": str, "variant": str, "artifact": str, "at_ms": int, "rows": int}
    for name, kind in kinds.items():
        if type(getattr(observation, name)) is not kind:
            raise InvalidValue(name, f"is no {kind.__name__}", "send what to_message makes")
    return observation


def case_text(case: Case) -> str:
    """A case as JSON text, for stores."""
    return json.dumps(to_document(case))


def case_of(text: str) -> Case:
    """The case of such a text."""
    return from_document(Case, json.loads(text))


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidValue("message", "is no JSON object", "send what to_message makes")
    return document
