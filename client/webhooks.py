"""Webhooks, as their owner sees them: what was sent, sending it again, and the secret it is signed with."""

from urllib.parse import quote

from client.models import Delivery, DeliveryPage, Replay, WebhookSecret
from client.wire import Wire


class Webhooks:
    """The webhooks of a tenant. Every method raises the classes of `client.errors`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def deliveries(self, *, job_id: str | None = None, batch_id: str | None = None) -> tuple[Delivery, ...]:
        """
        The latest attempts to tell what happened to a job or a batch, the last one first. Raises JobNotFound,
        BatchNotFound, and InvalidRequest unless exactly one of the two is given.
        """
        query = {name: value for name, value in (("job_id", job_id), ("batch_id", batch_id)) if value is not None}
        reply = self._wire.ask("GET", "/webhooks/deliveries", params=query)
        return DeliveryPage.model_validate_json(reply.content).deliveries

    def replay(self, delivery_id: str) -> Replay:
        """Have the event of this delivery sent again, under the same `webhook-id`. Raises NotFound."""
        path = f"/webhooks/deliveries/{quote(delivery_id, safe='')}/replay"
        return Replay.model_validate_json(self._wire.ask("POST", path).content)

    def rotate_secret(self) -> WebhookSecret:
        """
        A new secret, shown this once. The one before signs as well until `previous_until`. Not repeated after a fault:
        the second new secret would end the one before the first.
        """
        reply = self._wire.ask("POST", "/webhooks/secret/rotate", repeatable=False)
        return WebhookSecret.model_validate_json(reply.content)
