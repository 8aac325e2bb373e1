"""The JSON of batches, as clients send and see it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from core.batches import MAX_JOBS, BatchEvent
from service.errors import FieldError
from service.jobs.schemas import EXAMPLE_ID, NewJob, Url

EXAMPLE_BATCH_ID = f"b_{EXAMPLE_ID}"


class NewBatchQuery(BaseModel):
    """What is said of the batch as a whole."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Check every line and make nothing.")
    webhook_url: Url | None = Field(
        None, description="http(s):// address that is told `batch.completed` when all jobs are over."
    )


class NewBatch(BaseModel):
    """A batch whose lines are all understood."""

    jobs: list[NewJob] = Field(min_length=1, max_length=MAX_JOBS)
    webhook_url: Url | None


class BatchCheck(BaseModel):
    """What a dry run has found."""

    jobs: int = Field(description="Lines that hold a job, the wrong ones among them.")
    errors: list[FieldError] = Field(description="What would be refused, in the order of the lines; at best nothing.")


class BatchCounts(BaseModel):
    """How many of the batch's jobs are in each state. Jobs that are purged are not counted any more."""

    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int
    expired: int


class BatchLinks(BaseModel):
    """Where to go next."""

    self: str = Field(description="GET: the batch as it is now. DELETE: cancel it, or purge it once it is over.")
    jobs: str = Field(description="GET: its jobs, by pages.")
    cancel: str = Field(description="POST: cancel all its jobs; may be repeated.")


class BatchView(BaseModel):
    """A batch as it is now. It is over when `finished_at` is there."""

    id: str = Field(examples=[EXAMPLE_BATCH_ID])
    created_at: datetime
    finished_at: datetime | None
    size: int = Field(description="How many jobs were accepted with it.")
    counts: BatchCounts
    links: BatchLinks


class BatchMessage(BaseModel):
    """What the receiver of a batch gets."""

    type: BatchEvent
    timestamp: datetime = Field(description="When it happened.")
    data: BatchView = Field(description="The batch at the moment of sending.")
