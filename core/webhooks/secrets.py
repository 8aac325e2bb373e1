"""What webhooks are signed with: a secret per tenant, and for a while after its replacement the one before."""

import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import SecretStr
from redis import Redis

from core.errors import SecretKeyChanged
from core.job_store.scripts import PREFIX
from core.redis_client import connect, redis_errors_translated
from core.settings import Settings
from core.vault import Vault

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret just made. The one before it signs too until `previous_until`; None: there was none."""

    secret: SecretStr
    previous_until: datetime | None


class WebhookSecrets(Protocol):
    """
    The secrets of all tenants. Every method may raise QueueUnavailable.

    A tenant that has made none is served with the house's own, `HIGHSYNC_WEBHOOK_SECRET`, if there is one.
    """

    def valid(self, tenant: str) -> tuple[SecretStr, ...]:
        """What to sign with: none, one, or two, the newest first. SecretKeyChanged when it cannot be read any more."""

    def rotate(self, tenant: str) -> NewSecret:
        """Make a new secret. The latest one before it stays valid for a while, any older one ends."""


def _new_secret() -> SecretStr:
    return SecretStr("whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())


_NOW = "local time = redis.call('TIME')\nlocal now = time[1] + time[2] / 1e6\n"

# key; → current | false, previous | false if it is not valid any more
_VALID = (
    _NOW
    + """
local kept = redis.call('HMGET', KEYS[1], 'current', 'previous', 'previous_until')
if kept[2] and tonumber(kept[3]) <= now then kept[2] = false end
return {kept[1], kept[2]}
"""
)

# key; new, overlap, previous if there is no current one | '' → until when the previous one is valid | false
_ROTATE = (
    _NOW
    + """
local new, overlap_s, house = unpack(ARGV)
local previous = redis.call('HGET', KEYS[1], 'current') or (house ~= '' and house)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'current', new)
if not previous then return false end
local until_ = string.format('%.6f', now + overlap_s)
redis.call('HSET', KEYS[1], 'previous', previous, 'previous_until', until_)
return until_
"""
)


class RedisWebhookSecrets:
    """In a hash per tenant, sealed."""

    def __init__(self, redis: Redis, vault: Vault, house_secret: SecretStr | None, overlap_s: float) -> None:
        self._redis = redis
        self._vault = vault
        self._house_secret = house_secret
        self._overlap_s = overlap_s

    @classmethod
    def from_settings(cls, settings: Settings) -> "RedisWebhookSecrets":
        """The secrets of this house; connects at the first call."""
        vault = Vault(settings.secret_key, "webhook secrets")
        return cls(connect(settings.redis_url), vault, settings.webhook_secret, settings.webhook_secret_overlap_s)

    def valid(self, tenant: str) -> tuple[SecretStr, ...]:
        """See WebhookSecrets."""
        current, previous = self._run(_VALID, tenant)
        if not current:
            return _present(self._house_secret)
        secret = SecretStr(self._vault.open(current))
        try:
            return _present(secret, SecretStr(self._vault.open(previous)) if previous else None)
        except SecretKeyChanged:  # the current one was made since
            return (secret,)

    def rotate(self, tenant: str) -> NewSecret:
        """See WebhookSecrets."""
        secret = _new_secret()
        house = self._vault.seal(self._house_secret.get_secret_value()) if self._house_secret else ""
        until = self._run(_ROTATE, tenant, self._vault.seal(secret.get_secret_value()), self._overlap_s, house)
        return NewSecret(secret, datetime.fromtimestamp(float(until), UTC) if until else None)

    def _run(self, script: str, tenant: str, *arguments: str | float) -> Any:
        with redis_errors_translated():
            return self._redis.register_script(script)(keys=[f"{PREFIX}webhooks:secrets:{tenant}"], args=arguments)


@dataclass
class _Kept:
    current: SecretStr
    previous: SecretStr | None
    previous_until: float


class MemoryWebhookSecrets:
    """The same as a fake, within one process. `clock` returns seconds since the epoch."""

    def __init__(
        self,
        house_secret: SecretStr | None = None,
        overlap_s: float = 86_400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._house_secret = house_secret
        self._overlap_s = overlap_s
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def valid(self, tenant: str) -> tuple[SecretStr, ...]:
        """See WebhookSecrets."""
        kept = self._kept.get(tenant)
        if kept is None:
            return _present(self._house_secret)
        return _present(kept.current, kept.previous if self._clock() < kept.previous_until else None)

    def rotate(self, tenant: str) -> NewSecret:
        """See WebhookSecrets."""
        kept = self._kept.get(tenant)
        previous = self._house_secret if kept is None else kept.current
        until = self._clock() + self._overlap_s
        self._kept[tenant] = new = _Kept(_new_secret(), previous, until)
        return NewSecret(new.current, None if previous is None else datetime.fromtimestamp(until, UTC))


def _present(*found: SecretStr | None) -> tuple[SecretStr, ...]:
    return tuple(secret for secret in found if secret is not None)
