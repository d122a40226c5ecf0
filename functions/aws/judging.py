"""The feedback function's work: judgements into their log, and what follows from them into the catalogue.

An accuracy is released once a minute at most, by whichever environment has the turn. One that has not appoints, unless
somebody has, that the queue tells one of them a minute later. Marks say what is still to be looked at, and go only when
it was: whatever comes twice, late, or not at all, the next batch or the appointed one publishes it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from functions.aws.queue import Queue
from functions.aws.settings import FeedbackSettings
from gateway.estimator import Estimator
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.judgements import Observation, from_message
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_claims import DynamoClaims
from registry.stores.dynamodb_judgements import STATE, DynamoJudgements
from registry.stores.dynamodb_table import DynamoTable

log = logging.getLogger(__name__)

PUBLISH_S = 60
"""At most one release in this time, however much is judged: a release makes every environment load the catalogue."""

TURN, APPOINTMENT = "TURN", "APPOINTMENT"
"""What is claimed: to publish now, and to have somebody look later."""

LOST_S = 900.0
"""After so long an appointment was not kept: several times the delay that it is made for."""

LOOK = json.dumps({"publish": True})
"""What a message says that holds no judgement: look what there is to publish."""


class Judging:
    """One environment's part; `read` each message of a batch, then `finish` it."""

    def __init__(
        self,
        settings: FeedbackSettings,
        *,
        table: DynamoTable | None = None,
        queue: Queue | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        table = table or DynamoTable(settings.table)
        self._queue = queue or Queue(settings.queue)
        self._wall = wall
        self._store = DynamoStore(table)
        self._seen = Catalogue.empty()
        self._estimator = Estimator(DynamoJudgements(table))
        self._claims = DynamoClaims(table, STATE)
        self._read: list[Observation] = []
        self._appointed = False

    def begin(self) -> None:
        """Forget what was read of a batch that did not come to its end: it is delivered again."""
        self._read, self._appointed = [], False

    def read(self, body: str) -> None:
        """One message of the batch; raises InvalidValue for one that says nothing known."""
        if body == LOOK:
            self._appointed = True
        else:
            self._read.append(from_message(body))

    def finish(self) -> None:
        """Keep what was read, and publish what follows if it is our turn.

        When it raises, the batch is to be delivered again: what was kept of it is not kept twice.
        """
        if self._read:
            new = self._estimator.take(self._read, self._catalogue())
            log.info("%d judgements, %d of them new", len(new), sum(new))
        if self._appointed:
            self._claims.release(APPOINTMENT)  # before marks are read: who marks after that finds nobody appointed
        if not self._estimator.waiting():
            return
        if not self._claims.claim(TURN, self._wall(), PUBLISH_S) or not self._published():
            self._appoint()

    def _catalogue(self) -> Catalogue:
        """The catalogue as it is now; an empty one where that cannot be read.

        Of one that is old an accuracy released since would look like somebody else's word, and what was judged before
        would be left out; what is kept without its case is weighed in the one that whoever looks next opens.
        """
        try:
            if self._store.head() != self._seen.version:
                self._seen = self._store.load()
        except RegistryError as fault:
            log.warning("the catalogue cannot be read: %s", fault)
            return Catalogue.empty()
        return self._seen

    def _published(self) -> bool:
        """Whether everything that waited was looked at; what is moved is then in the catalogue."""
        try:
            if self._estimator.publish(self._store):
                log.info("published as version %d", self._store.head())
        except RegistryError as fault:
            log.warning("judged accuracies cannot be published: %s", fault)
            return False
        return True

    def _appoint(self) -> None:
        """Have somebody look when the next turn may be taken."""
        if not self._claims.claim(APPOINTMENT, self._wall(), LOST_S):
            return
        try:
            self._queue.send(LOOK, delay_s=PUBLISH_S)
        except RegistryError:
            self._claims.release(APPOINTMENT)
            raise
