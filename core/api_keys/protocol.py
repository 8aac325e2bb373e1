"""What every store of API keys promises."""

from datetime import datetime
from typing import Protocol

from core.api_keys.keys import ApiKey, KeyId


class KeyStore(Protocol):
    """Keeps the records of keys, and counts requests. Every method may raise QueueUnavailable, within two seconds."""

    def add(self, key: ApiKey) -> None:
        """Keep a new key, durably."""

    def get(self, key_id: KeyId) -> ApiKey | None:
        """The key as it is now, revoked or not; None if there was never one of this id."""

    def list(self) -> tuple[ApiKey, ...]:
        """All keys, the revoked ones too, oldest first."""

    def revoke(self, key_id: KeyId, now: datetime) -> ApiKey | None:
        """End a key; its record stays. Ending it again changes nothing. None if there was never one of this id."""

    def revocations(self) -> int:
        """How many keys have been revoked so far: another number means, look again."""

    def any(self) -> bool:
        """Whether there has ever been a key."""

    def take_token(self, key_id: KeyId, per_minute: int) -> float:
        """
        Count a request against a bucket of `per_minute` tokens that fills up again within a minute.

        Returns 0 if the request may pass, or else the seconds until one may; then nothing was counted.
        """
