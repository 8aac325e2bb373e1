"""The outbox as a fake: one process, nothing durable, the same behaviour (one contract test suite for both)."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from core.batches import Batch, BatchEvent
from core.errors import BatchNotFound, JobNotFound
from core.job_store import MemoryJobStore
from core.jobs import WEBHOOK_EVENTS_IN_ORDER, Job, WebhookEvent
from core.webhooks.outbox import LOG_LENGTH, Attempted, Delivery, DueDelivery, OutboxStats, Outcome
from core.webhooks.subject import Event, Subject, SubjectId, find_subject

_IN_ORDER: tuple[Event, ...] = (*WEBHOOK_EVENTS_IN_ORDER, *BatchEvent)


@dataclass
class _Event:
    """What is known of one kind of event of one job or batch. It is to be told while it has a time, `due`."""

    number: int = 0
    pending: int = 0
    happened_at: float = 0.0
    due: float | None = None
    attempts: int = 0
    flying: bool = False
    not_before: float = 0.0


@dataclass
class _Box:
    events: dict[Event, _Event] = field(default_factory=dict)
    log: deque[Delivery] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    over: bool = False
    gone: bool = False

    def event(self, kind: Event) -> _Event:
        return self.events.setdefault(kind, _Event())

    def drop(self) -> None:
        for event in self.events.values():
            event.due = None


class MemoryOutbox:
    """Listens to a `MemoryJobStore`. `clock` returns seconds since the epoch."""

    def __init__(self, store: MemoryJobStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._lock = store.lock  # an event gets in together with its change
        self._boxes: dict[SubjectId, _Box] = {}
        store.listeners.append(self._tell)

    def take_due(self, limit: int, hold_s: float, progress_pause_s: float) -> tuple[DueDelivery, ...]:
        """See Outbox."""
        taken: list[DueDelivery] = []
        with self._lock:
            now = self._clock()
            for _, about, kind in self._due(now):
                box = self._box(about)
                if len(taken) < limit and not _must_wait(box, kind):
                    event = box.event(kind)
                    event.due, event.attempts, event.flying = now + hold_s, event.attempts + 1, True
                    if kind is WebhookEvent.PROGRESS:
                        event.not_before = now + progress_pause_s
                    happened_at = datetime.fromtimestamp(event.happened_at, UTC)
                    taken.append(DueDelivery(about, kind, event.pending, happened_at, event.attempts))
        return tuple(taken)

    def record(self, due: DueDelivery, attempted: Attempted) -> None:
        """See Outbox."""
        with self._lock:
            box = self._box(due.about)
            pause_s = attempted.pause_s
            next_attempt_at = None if pause_s is None else attempted.at + timedelta(seconds=pause_s)
            box.log.appendleft(Delivery.of(due, attempted, next_attempt_at))
            if attempted.outcome is Outcome.GONE:
                box.gone = True
                box.drop()
            event = box.event(due.event)
            if event.attempts == due.attempt and event.due is not None:
                self._go_on(box, event, due, pause_s)

    def _go_on(self, box: _Box, event: _Event, due: DueDelivery, pause_s: float | None) -> None:
        event.flying = False
        if due.event is WebhookEvent.PROGRESS and box.over:
            event.due = None
        elif pause_s is not None:
            event.due = self._clock() + pause_s
        else:
            event.attempts = 0
            event.due = None if event.pending == due.number else max(self._clock(), event.not_before)

    def drop(self, about: SubjectId) -> None:
        """See Outbox."""
        with self._lock:
            self._box(about).drop()

    def deliveries(self, about: SubjectId) -> tuple[Delivery, ...]:
        """See Outbox."""
        with self._lock:
            return tuple(self._box(about).log)

    def replay(self, delivery: Delivery) -> None:
        """See Outbox."""
        with self._lock:
            box = self._box(delivery.about)
            box.gone = False
            event = box.event(delivery.event)
            if not event.flying or event.due is None:
                event.pending, event.happened_at = delivery.number, delivery.happened_at.timestamp()
                event.due, event.attempts = self._clock(), 0

    def stats(self) -> OutboxStats:
        """See Outbox."""
        with self._lock:
            times = [time for time, _, _ in self._due(float("inf"))]
        return OutboxStats(len(times), max(0.0, self._clock() - min(times)) if times else 0.0)

    def _tell(self, subject: Subject, kind: Event) -> None:
        with self._lock:
            box = self._boxes.setdefault(subject.id, _Box())
            if isinstance(subject, Job) and subject.status.is_terminal:
                box.over = True
                if not (progress := box.event(WebhookEvent.PROGRESS)).flying:
                    progress.due = None
            is_wanted = isinstance(subject, Batch) or kind in subject.webhook_events
            if subject.webhook_url is None or not is_wanted or box.gone:
                return
            event = box.event(kind)
            event.number += 1
            event.pending, event.happened_at = event.number, self._clock()
            if event.due is None:
                event.due = max(self._clock(), event.not_before)

    def _box(self, about: SubjectId) -> _Box:
        """What there is of this job or batch; of one that was purged, nothing."""
        try:
            find_subject(self._store, about)
        except (JobNotFound, BatchNotFound):
            self._boxes.pop(about, None)
            return _Box()
        return self._boxes.setdefault(about, _Box())

    def _due(self, now: float) -> list[tuple[float, SubjectId, Event]]:
        """What is due by then, the longest due first."""
        return sorted(
            (event.due, about, kind)
            for about in tuple(self._boxes)
            for kind, event in self._box(about).events.items()
            if event.due is not None and event.due <= now
        )


def _must_wait(box: _Box, kind: Event) -> bool:
    earlier = map(box.event, _IN_ORDER[: _IN_ORDER.index(kind)])
    return any(event.due is not None and (event.attempts == 0 or event.flying) for event in earlier)
