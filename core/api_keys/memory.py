"""The store of API keys as a fake: one process, nothing durable, the same behaviour."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from core.api_keys.keys import ApiKey, KeyId


class MemoryKeyStore:
    """Keys in a dict. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[KeyId, ApiKey] = {}
        self._buckets: dict[KeyId, tuple[float, float]] = {}

    def add(self, key: ApiKey) -> None:
        """See KeyStore."""
        with self._lock:
            self._keys[key.id] = key

    def get(self, key_id: KeyId) -> ApiKey | None:
        """See KeyStore."""
        with self._lock:
            return self._keys.get(key_id)

    def list(self) -> tuple[ApiKey, ...]:
        """See KeyStore."""
        with self._lock:
            return tuple(sorted(self._keys.values(), key=lambda key: (key.created_at, key.id)))

    def revoke(self, key_id: KeyId, now: datetime) -> ApiKey | None:
        """See KeyStore."""
        with self._lock:
            key = self._keys.get(key_id)
            if key is not None and key.revoked_at is None:
                key = self._keys[key_id] = key.model_copy(update={"revoked_at": now})
            return key

    def revocations(self) -> int:
        """See KeyStore."""
        with self._lock:
            return sum(key.revoked_at is not None for key in self._keys.values())

    def any(self) -> bool:
        """See KeyStore."""
        with self._lock:
            return bool(self._keys)

    def take_token(self, key_id: KeyId, per_minute: int) -> float:
        """See KeyStore."""
        with self._lock:
            now, rate = self._clock(), per_minute / 60
            tokens, at = self._buckets.get(key_id, (float(per_minute), now))
            tokens = min(per_minute, tokens + (now - at) * rate)
            if tokens < 1:
                return (1 - tokens) / rate
            self._buckets[key_id] = (tokens - 1, now)
            return 0.0
