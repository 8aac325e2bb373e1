"""Making, ending and checking keys."""

from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import SecretStr

from core.api_keys.keys import ApiKey, KeyId, KeyLimits, Scope, new_key, split_key
from core.api_keys.protocol import KeyStore
from core.errors import InvalidApiKey
from core.job_store import JobStore


class Keyring:
    """The keys, and the limits that follow from them for the queue. Every method may raise QueueUnavailable."""

    def __init__(self, keys: KeyStore, jobs: JobStore) -> None:
        self._keys = keys
        self._jobs = jobs

    def create(self, tenant: str, scopes: Iterable[Scope], limits: KeyLimits) -> tuple[ApiKey, SecretStr]:
        """A new key, valid at once, and its text: keep it, nobody can show it again. ValueError for a bad tenant."""
        key, text = new_key(tenant, scopes, limits, datetime.now(UTC))
        self._keys.add(key)
        self._limit_running(tenant)
        return key, text

    def list(self) -> tuple[ApiKey, ...]:
        """All keys, the revoked ones too, oldest first."""
        return self._keys.list()

    def revoke(self, key_id: KeyId) -> ApiKey | None:
        """End a key, from the next request on. None if there is none of this id."""
        key = self._keys.revoke(key_id, datetime.now(UTC))
        if key is not None:
            self._limit_running(key.tenant)
        return key

    def _limit_running(self, tenant: str) -> None:
        self._jobs.limit_running(tenant, limits_of(tenant, self._keys).max_running)


def limits_of(tenant: str, keys: KeyStore) -> KeyLimits:
    """
    What all keys of a tenant permit together. Once all are revoked, what they did: its jobs are still there.

    Raises QueueUnavailable.
    """
    own = [key for key in keys.list() if key.tenant == tenant]
    valid = [key for key in own if key.revoked_at is None]
    return KeyLimits.most_generous(key.limits for key in valid or own)


def authenticate(keys: KeyStore, text: str) -> ApiKey:
    """The valid key with this text. Raises InvalidApiKey, in the same words whatever is wrong; QueueUnavailable."""
    parts = split_key(text)
    if parts is not None:
        key_id, secret = parts
        key = keys.get(key_id)
        if key is not None and key.opens_with(secret) and key.revoked_at is None:
            return key
    raise InvalidApiKey("This is not a valid API key.")
