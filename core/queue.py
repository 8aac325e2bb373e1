"""The queue: messages that carry a job's id and nothing else. They are hints; the truth is in the job store."""

import ssl
import weakref
from collections import deque
from contextlib import suppress
from queue import Empty, LifoQueue
from typing import Protocol

from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import ConnectionError

from core.errors import QueueUnavailable
from core.jobs import JobId
from core.redis_client import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S, connect, redis_errors_translated
from core.settings import Settings

RENDER_TASK = "highsync.render_job"
QUEUE_NAME = "highsync.jobs"
_VISIBILITY_MARGIN_S = 600.0


_IMPATIENT = {
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": REPLY_TIMEOUT_S,
    "retry_on_timeout": False,
    "max_retries": 0,
}


class JobQueue(Protocol):
    """Tells workers that a job waits."""

    def enqueue(self, job_id: JobId) -> None:
        """Send the message. Raises QueueUnavailable within about two seconds; the reconciler then sends it later."""

    def waiting(self) -> int:
        """How many messages no worker has taken yet. Raises QueueUnavailable."""


class MemoryJobQueue:
    """The queue as a fake: `take` plays the worker's part."""

    def __init__(self) -> None:
        self._messages: deque[JobId] = deque()

    def enqueue(self, job_id: JobId) -> None:
        """See JobQueue."""
        self._messages.append(job_id)

    def waiting(self) -> int:
        """See JobQueue."""
        return len(self._messages)

    def take(self) -> JobId | None:
        """The oldest message, or None."""
        return self._messages.popleft() if self._messages else None


class CeleryJobQueue:
    """
    The queue in Redis, through Celery.

    A message uses a connection that no other thread uses at the moment, and leaves it for the next one: making one
    costs several times what sending does. A publisher's short timeouts and single try belong to these connections and
    do not leak into the settings that workers consume with.
    """

    def __init__(self, app: Celery, redis: Redis) -> None:
        self._app = app
        self._redis = redis
        self._idle: LifoQueue[Connection] = LifoQueue()
        weakref.finalize(self, _release_all, self._idle)

    def enqueue(self, job_id: JobId) -> None:
        """See JobQueue."""
        try:
            with redis_errors_translated():
                self._send(job_id)
        except OperationalError as error:
            raise QueueUnavailable(f"Celery: {error}") from error

    def _send(self, job_id: JobId) -> None:
        """By an idle connection; by a new one if there is none, or if Redis has closed it meanwhile."""
        with suppress(Empty, ConnectionError):
            return self._send_by(self._idle.get_nowait(), job_id)
        self._send_by(self._app.connection_for_write(transport_options=_IMPATIENT), job_id)

    def _send_by(self, connection: Connection, job_id: JobId) -> None:
        try:
            self._app.send_task(RENDER_TASK, args=(job_id,), connection=connection, retry=False)
        except BaseException:
            connection.release()
            raise
        self._idle.put(connection)

    def waiting(self) -> int:
        """See JobQueue."""
        with redis_errors_translated():
            return self._redis.llen(QUEUE_NAME)


def _release_all(connections: LifoQueue[Connection]) -> None:
    with suppress(Empty):
        while True:
            connections.get_nowait().release()


def make_job_queue(settings: Settings) -> JobQueue:
    """The queue on the configured Redis; connects at the first call."""
    return CeleryJobQueue(make_celery(settings), connect(settings.redis_url))


def make_celery(settings: Settings) -> Celery:
    """The Celery application, for those who send and those who work. Registers no tasks and connects to nothing."""
    app = Celery("highsync", broker=settings.redis_url, set_as_current=False)
    visibility_timeout_s = settings.job_time_limit_s + _VISIBILITY_MARGIN_S
    app.conf.update(
        task_default_queue=QUEUE_NAME,
        task_serializer="json",
        accept_content=["json"],
        # A message is acknowledged when its task ends, whatever the end: what happens to the job then is decided by its
        # record and its lease. Celery's own redelivery of a lost worker's message has no limit, so it is off.
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_acks_on_failure=True,
        task_acks_on_timeout=True,
        worker_prefetch_multiplier=1,
        # No state in a result backend: it would be a second truth, and it expires.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # A message invisible for longer than a job may take would run it twice (Celery does not renew it).
        # All three places, because the smallest one wins.
        visibility_timeout=visibility_timeout_s,
        result_backend_transport_options={"visibility_timeout": visibility_timeout_s},
        broker_transport_options={
            "visibility_timeout": visibility_timeout_s,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            "socket_connect_timeout": 5,
            "health_check_interval": 25,
            "retry_on_timeout": True,
            "client_name": "highsync-queue",
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A blip must not kill an hour of rendering: the lease decides whose job it is.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_time_limit=settings.job_time_limit_s,
        worker_soft_shutdown_timeout=30.0,
        worker_enable_soft_shutdown_on_idle=False,
        worker_enable_remote_control=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    if settings.redis_url.startswith("rediss:"):
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}  # kombu's own default trusts any certificate
    return app
