"""A queue as SQS is one: at least once, in any order, hidden while somebody has it, a dead letter in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from registry.errors import Unavailable

VISIBILITY_S = 360.0
"""How long a message is hidden from others while a function has it."""

MOST_RECEIVES = 20


@dataclass(slots=True)
class Message:
    """A message, and when it is next seen."""

    number: int
    body: str
    visible_at: float
    receives: int = 0


@dataclass(slots=True)
class FaultyQueue:
    """Messages by number; `now` is moved by whoever plays."""

    random: Random
    now: float
    twice: float = 0.0
    """Chance that a message is delivered again although it was done with."""
    refused: float = 0.0
    """Chance that a call is refused."""
    messages: dict[int, Message] = field(default_factory=dict)
    dead: list[Message] = field(default_factory=list)
    sent: int = 0
    numbers: count[int] = field(default_factory=count)

    def send(self, body: str, *, delay_s: float = 0) -> None:
        """Put a message in; raises Unavailable."""
        self._may_refuse()
        self.sent += 1
        message = Message(next(self.numbers), body, self.now + delay_s)
        self.messages[message.number] = message

    def hide(self, receipt: str, for_s: float) -> None:
        """See `functions.aws.queue.Queue`."""
        self._may_refuse()
        if int(receipt) in self.messages:
            self.messages[int(receipt)].visible_at = self.now + for_s

    def receive(self, most: int) -> Sequence[Message]:
        """Some of what can be seen, in no order; one received too often is a dead letter."""
        seen = [message for message in self.messages.values() if message.visible_at <= self.now]
        self.random.shuffle(seen)
        taken = []
        for message in seen[:most]:
            message.receives += 1
            if message.receives > MOST_RECEIVES:
                self.dead.append(self.messages.pop(message.number))
                continue
            message.visible_at = self.now + VISIBILITY_S
            taken.append(message)
        return taken

    def done(self, message: Message) -> None:
        """It was carried out; some come again all the same."""
        if self.random.random() >= self.twice:
            self.messages.pop(message.number, None)
        elif message.number in self.messages:
            message.visible_at = self.now

    def next_at(self) -> float | None:
        """When the next message is seen; None where none is left."""
        return min((message.visible_at for message in self.messages.values()), default=None)

    def _may_refuse(self) -> None:
        if self.random.random() < self.refused:
            raise Unavailable("queue", "throttled")
