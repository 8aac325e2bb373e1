"""Where job records live: the truth about every job. Redis in production, memory in tests, one behaviour."""

from core.job_store.memory import MemoryJobStore
from core.job_store.protocol import ChangeFeed, JobPage, JobStore, Lease, LeaseLost, LeaseState, Outlook, QueueStats
from core.job_store.redis_store import RedisJobStore

__all__ = [
    "ChangeFeed",
    "JobPage",
    "JobStore",
    "Lease",
    "LeaseLost",
    "LeaseState",
    "MemoryJobStore",
    "Outlook",
    "QueueStats",
    "RedisJobStore",
]
