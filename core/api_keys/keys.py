"""
What an API key is: `hs_<id>_<secret>`. The id is no secret: it names the key in lists and logs. The secret is shown
once and kept nowhere, only its SHA-256 is. A slow hash, as passwords need it, would add nothing: nobody can guess 256
random bits, however quickly a guess is tried.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NewType, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from core.jobs import TENANT_PATTERN

KeyId = NewType("KeyId", str)

_ID_BYTES = 6
_SECRET_BYTES = 32
_KEY = re.compile(r"hs_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Scope(StrEnum):
    """What a key permits: to submit and end jobs, to read them, or everything."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


class KeyLimits(BaseModel):
    """
    How much a key permits; None is the house's own limit, where there is one. Requests are counted for each key, all
    else for its tenant: whoever has a second key does not have twice as much. Wherever no key is at hand, the most
    generous limit of the tenant's keys counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_running: int | None = Field(None, ge=1)
    max_queued: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)
    storage_bytes: int | None = Field(None, ge=1)
    retention_s: int | None = Field(None, ge=60)

    @classmethod
    def most_generous(cls, several: Iterable[Self]) -> Self:
        """The largest of each limit; no limits if there are none of any kind."""
        rows = [limits.model_dump() for limits in several]
        columns = {name: [row[name] for row in rows] for name in cls.model_fields}
        return cls(**{name: max(column) for name, column in columns.items() if column and None not in column})


class ApiKey(BaseModel):
    """The record of a key. A revoked one is kept: where there was a key once, nobody comes in without."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: KeyId
    tenant: str = Field(pattern=TENANT_PATTERN)
    scopes: frozenset[Scope] = Field(min_length=1)
    limits: KeyLimits
    secret_sha256: str
    created_at: datetime
    revoked_at: datetime | None = None

    def permits(self, scope: Scope) -> bool:
        """Whether it may be used for this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def opens_with(self, secret: str) -> bool:
        """Whether this is its secret. Takes as long for any."""
        return hmac.compare_digest(self.secret_sha256, _sha256(secret))


def new_key(tenant: str, scopes: Iterable[Scope], limits: KeyLimits, now: datetime) -> tuple[ApiKey, SecretStr]:
    """A key for this tenant, and its text, which exists nowhere else. ValueError if the tenant's name is no good."""
    key_id, secret = KeyId(secrets.token_hex(_ID_BYTES)), secrets.token_urlsafe(_SECRET_BYTES)
    key = ApiKey(
        id=key_id,
        tenant=tenant,
        scopes=frozenset(scopes),
        limits=limits,
        secret_sha256=_sha256(secret),
        created_at=now,
    )
    return key, SecretStr(f"hs_{key_id}_{secret}")


def split_key(text: str) -> tuple[KeyId, str] | None:
    """The id and the secret in the text of a key. None if it is not one."""
    match = _KEY.fullmatch(text)
    return None if match is None else (KeyId(match[1]), match[2])


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
