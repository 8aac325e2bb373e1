"""How much is to be told, as gauges."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from core.errors import QueueUnavailable
from core.webhooks.outbox import Outbox


class BacklogCollector(Collector):
    """Asks the outbox at every scrape: the answer costs Redis next to nothing."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges. Absent while Redis is away: no number is better than an old one."""
        try:
            stats = self._outbox.stats()
        except QueueUnavailable:
            return
        yield GaugeMetricFamily(
            "highsync_webhook_backlog",
            "Events still to be told, those that wait for another attempt included.",
            value=stats.backlog,
        )
        yield GaugeMetricFamily(
            "highsync_webhook_oldest_age_seconds",
            "How late the most overdue delivery is; 0 while the service keeps up, however often receivers refuse.",
            value=stats.overdue_s,
        )

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing is asked when the collector is registered."""
        return ()
