"""The JSON of webhooks."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.batches import BATCH_ID_PATTERN
from core.jobs import JOB_ID_PATTERN, BatchId, JobId, WebhookEvent
from core.webhooks import Event, Outcome, SubjectId
from service.jobs.schemas import EXAMPLE_ID, JobView


class SecretView(BaseModel):
    """A new secret. It is shown this once."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="])
    previous_until: datetime | None = Field(
        description="Until then, messages carry a signature by the secret before as well; absent if there was none."
    )


class DeliveryQuery(BaseModel):
    """Whose deliveries to list."""

    model_config = ConfigDict(extra="forbid")

    job_id: str | None = Field(None, pattern=JOB_ID_PATTERN, description="The job they are about.")
    batch_id: str | None = Field(None, pattern=BATCH_ID_PATTERN, description="Or the batch.")

    @model_validator(mode="after")
    def _about_one(self) -> Self:
        if (self.job_id is None) == (self.batch_id is None):
            raise ValueError("either job_id or batch_id")
        return self

    @property
    def about(self) -> SubjectId:
        """The one of the two that is given."""
        return JobId(self.job_id) if self.job_id else BatchId(str(self.batch_id))


class DeliveryView(BaseModel):
    """One attempt to tell one event."""

    id: str = Field(examples=[f"{EXAMPLE_ID}-4f1d2c3b5a69"])
    job_id: str | None = Field(examples=[EXAMPLE_ID], description="Absent when it is about a batch.")
    batch_id: str | None = Field(description="Absent when it is about a job.")
    event: Event
    message_id: str = Field(examples=[f"{EXAMPLE_ID}-succeeded"], description="Sent as `webhook-id`.")
    attempt: int = Field(description="1 the first time this event was sent.")
    at: datetime
    outcome: Outcome = Field(
        description="`delivered`: a 2xx. `refused`: any other status. `unreachable`: no answer. `blocked`: not an "
        "address that webhooks may reach. `gone`: a 410, which ends it. `postponed`: for a reason on our side."
    )
    status: int | None = Field(description="The receiver's HTTP status, if it answered.")
    duration_s: float
    next_attempt_at: datetime | None = Field(description="When it is sent again; absent if it is not.")


class DeliveryList(BaseModel):
    """The latest deliveries of a job or batch, the last one first."""

    deliveries: list[DeliveryView]


class ReplayView(BaseModel):
    """The event is sent again, within seconds."""

    job_id: str | None
    batch_id: str | None
    event: Event
    message_id: str = Field(description="The same `webhook-id` as before.")


class WebhookMessage(BaseModel):
    """What a receiver gets."""

    type: WebhookEvent
    timestamp: datetime = Field(description="When it happened.")
    data: JobView = Field(description="The job at the moment of sending.")
