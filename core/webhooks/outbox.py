"""What an outbox promises: what is still to be told, and a log of what was tried."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self

from pydantic import BaseModel, ConfigDict

from core.job_store.outbox_script import event_word
from core.webhooks.subject import Event, SubjectId

LOG_LENGTH = 100
"""Attempts at delivery that are remembered of a job; older ones are forgotten first."""


class Outcome(StrEnum):
    """How an attempt at delivery went."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    BLOCKED = "blocked"
    GONE = "gone"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """
    An event whose time to be told has come. `attempt` is 1 the first time.

    `number` tells apart what happens to a job more than once, its progress for one.
    """

    about: SubjectId
    event: Event
    number: int
    happened_at: datetime
    attempt: int

    @property
    def message_id(self) -> str:
        """The same for every attempt to tell this event, and for no other. It has no dot: dots part what is signed."""
        word = event_word(self.event)
        return f"{self.about}-{word}" if self.number == 1 else f"{self.about}-{word}-{self.number}"


@dataclass(frozen=True, slots=True)
class Attempted:
    """
    How one attempt went, and what shall follow.

    `status` is the receiver's HTTP status, if it gave one. `pause_s` is the time to the next attempt in seconds;
    without one, the event counts as told or given up.
    """

    at: datetime
    outcome: Outcome
    status: int | None
    duration_s: float
    pause_s: float | None


class Delivery(BaseModel):
    """An entry of the log: one attempt to tell one event. It holds no body and no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    about: SubjectId
    event: Event
    number: int
    happened_at: datetime
    message_id: str
    attempt: int
    at: datetime
    outcome: Outcome
    status: int | None
    duration_s: float
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, due: DueDelivery, attempted: Attempted, next_attempt_at: datetime | None) -> Self:
        """The entry for this attempt, with an id of its own."""
        return cls(
            id=f"{due.about}-{secrets.token_hex(6)}",
            about=due.about,
            event=due.event,
            number=due.number,
            happened_at=due.happened_at,
            message_id=due.message_id,
            attempt=due.attempt,
            at=attempted.at,
            outcome=attempted.outcome,
            status=attempted.status,
            duration_s=attempted.duration_s,
            next_attempt_at=next_attempt_at,
        )


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """How much there is to tell: `backlog` events, the most overdue of them by `overdue_s` seconds (0: none is)."""

    backlog: int
    overdue_s: float


class Outbox(Protocol):
    """
    What is still to be told. Every method may raise QueueUnavailable.

    Events of a job come out in the order in which they happen: one waits as long as an earlier one was never tried, or
    is under way. It does not wait for one that has failed, so a receiver that refuses one event hears of the others.
    """

    def take_due(self, limit: int, hold_s: float, progress_pause_s: float) -> tuple[DueDelivery, ...]:
        """
        Events whose time has come. Each is due again after `hold_s` seconds unless its attempt is recorded.

        The next progress of the same job comes out `progress_pause_s` seconds later at the earliest.
        """

    def record(self, due: DueDelivery, attempted: Attempted) -> None:
        """
        Log an attempt and do what it asks for: try again after its pause, or never again.

        `Outcome.GONE` ends all that is to be told of the subject. Late news, when the event was taken out again
        meanwhile, is only logged; of a job that is purged, nothing is.
        """

    def drop(self, about: SubjectId) -> None:
        """Nothing is left to tell about this job or batch."""

    def deliveries(self, about: SubjectId) -> tuple[Delivery, ...]:
        """The latest attempts for this job or batch, the last one first; at most LOG_LENGTH."""

    def replay(self, delivery: Delivery) -> None:
        """Tell the event of this attempt again, at once and under the same id, as if it had never been tried."""

    def stats(self) -> OutboxStats:
        """Counts and ages, at a cost that does not grow with the number of jobs."""
