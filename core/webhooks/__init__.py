"""
Webhooks: tell the receiver of a job's choice what happens to the job, and that of a batch when all of it is over.

The outbox is a part of the job's record: the script that changes a job puts the event there, in the same step. A
delivery is taken out for a while, not for good, so a crash in the middle means one delivery too many and never one too
few; the receiver tells repetitions by `webhook-id`. Purging a job drops what was not delivered yet. The format and the
headers are those of Standard Webhooks (standardwebhooks.com).
"""

from core.webhooks.backlog import BacklogCollector
from core.webhooks.courier import RETRY_AFTER_S, Courier, Post
from core.webhooks.memory_outbox import MemoryOutbox
from core.webhooks.outbox import Attempted, Delivery, DueDelivery, Outbox, OutboxStats, Outcome
from core.webhooks.redis_outbox import RedisOutbox
from core.webhooks.secrets import MemoryWebhookSecrets, NewSecret, RedisWebhookSecrets, WebhookSecrets
from core.webhooks.signing import signed_headers
from core.webhooks.subject import Event, Subject, SubjectId, find_subject

__all__ = [
    "RETRY_AFTER_S",
    "Attempted",
    "BacklogCollector",
    "Courier",
    "Delivery",
    "DueDelivery",
    "Event",
    "MemoryOutbox",
    "MemoryWebhookSecrets",
    "NewSecret",
    "Outbox",
    "OutboxStats",
    "Outcome",
    "Post",
    "RedisOutbox",
    "RedisWebhookSecrets",
    "Subject",
    "SubjectId",
    "WebhookSecrets",
    "find_subject",
    "signed_headers",
]
