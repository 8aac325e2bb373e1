"""API keys: whose a request is, what it may do, and how much of it. Redis in production, memory in tests."""

from core.api_keys.keyring import Keyring, authenticate, limits_of
from core.api_keys.keys import ApiKey, KeyId, KeyLimits, Scope
from core.api_keys.memory import MemoryKeyStore
from core.api_keys.protocol import KeyStore
from core.api_keys.redis_store import RedisKeyStore

__all__ = [
    "ApiKey",
    "KeyId",
    "KeyLimits",
    "KeyStore",
    "Keyring",
    "MemoryKeyStore",
    "RedisKeyStore",
    "Scope",
    "authenticate",
    "limits_of",
]
