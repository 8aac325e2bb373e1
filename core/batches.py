"""What a batch is, as data: jobs that were accepted together, are counted and canceled together, and told of once."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.jobs import JOB_ID_PATTERN, LOCAL_TENANT, TENANT_PATTERN, BatchId, JobStatus, new_job_id
from core.private_urls import is_safe_to_keep

MAX_JOBS = 1000
"""The largest batch: about as long as Redis may be kept from anything else by one step."""

BATCH_PREFIX = "b_"  # so that nobody takes it for a job's
BATCH_ID_PATTERN = JOB_ID_PATTERN.replace("^", f"^{BATCH_PREFIX}")


class BatchEvent(StrEnum):
    """What a receiver can be told about a batch."""

    COMPLETED = "batch.completed"


def new_batch_id() -> BatchId:
    """An id nobody can guess, and that sorts by its time of creation."""
    return BatchId(BATCH_PREFIX + new_job_id())


def is_batch_id(text: str) -> bool:
    """Whether it is the id of a batch and not of a job."""
    return text.startswith(BATCH_PREFIX)


class Batch(BaseModel):
    """
    The record of one batch. Its jobs name it in `batch_id`, and it goes with the last of them.

    `size` is how many jobs were accepted with it; `counts` is how many of those that are not purged are in which state.
    It is finished when none of them can change any more. All times are UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: BatchId
    tenant: str = Field(LOCAL_TENANT, pattern=TENANT_PATTERN)
    traceparent: str | None = None
    webhook_url: str | None = None
    created_at: datetime
    finished_at: datetime | None = None
    size: int
    counts: Mapping[JobStatus, int] = Field(default_factory=dict)

    @field_validator("webhook_url")
    @classmethod
    def _keeps_no_readable_query(cls, url: str | None) -> str | None:
        if url is not None and not is_safe_to_keep(url):
            raise ValueError("the query must be sealed: it may carry a secret")
        return url
