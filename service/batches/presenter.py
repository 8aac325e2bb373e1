"""From the record of a batch to what its owner sees."""

from core.batches import Batch
from core.settings import Settings
from service.batches.schemas import BatchCounts, BatchLinks, BatchView


def batch_view(batch: Batch, settings: Settings) -> BatchView:
    """The batch as it is now."""
    base_url = settings.public_url.rstrip("/")
    place = f"{base_url}/batches/{batch.id}"
    return BatchView(
        **batch.model_dump(include={"id", "created_at", "finished_at", "size"}),
        counts=BatchCounts(**{status.value: count for status, count in batch.counts.items()}),
        links=BatchLinks(self=place, jobs=f"{base_url}/jobs?batch={batch.id}", cancel=f"{place}/cancel"),
    )
