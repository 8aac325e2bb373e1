"""The headers that let a receiver know who sent a message, when, and that it was not changed."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import SecretStr
from standardwebhooks import Webhook


def signed_headers(message_id: str, body: bytes, now: datetime, secrets: Sequence[SecretStr]) -> dict[str, str]:
    """
    Headers for exactly this body, with a signature by each secret (`whsec_` and base64); without one, it goes unsigned.

    `now` in UTC.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp()))}
    if secrets:
        text = body.decode()
        signatures = (Webhook(secret.get_secret_value()).sign(message_id, now, text) for secret in secrets)
        headers["webhook-signature"] = " ".join(signatures)
    return headers
