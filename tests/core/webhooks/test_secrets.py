"""What webhooks are signed with: a tenant's own, the one before it for a while, or the house's."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from redis import Redis

from core.errors import SecretKeyChanged
from core.redis_client import connect
from core.settings import Settings
from core.vault import Vault
from core.webhooks import MemoryWebhookSecrets, RedisWebhookSecrets, WebhookSecrets

HOUSE = SecretStr("whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0")
OVERLAP_S = 3600.0
KEY = SecretStr("a key for tests, long enough by far")


def redis_secrets(redis: Redis, house: SecretStr | None = HOUSE, key: SecretStr = KEY) -> RedisWebhookSecrets:
    return RedisWebhookSecrets(redis, Vault(key, "webhook secrets"), house, OVERLAP_S)


@dataclass(frozen=True)
class Safe:
    """Secrets of a house with and of one without a secret of its own. `later` lets time pass."""

    with_house: WebhookSecrets
    without: WebhookSecrets
    later: Callable[[float], None]


@pytest.fixture(params=["memory", "redis"])
def safe(request: pytest.FixtureRequest) -> Safe:
    if request.param == "memory":
        now = [time.time()]

        def clock() -> float:
            return now[0]

        with_house = MemoryWebhookSecrets(HOUSE, OVERLAP_S, clock)
        without = MemoryWebhookSecrets(None, OVERLAP_S, clock)
        return Safe(with_house, without, lambda s: now.__setitem__(0, now[0] + s))
    redis = connect(request.getfixturevalue("redis_url"))

    def later(seconds: float) -> None:
        for key in redis.scan_iter("highsync:webhooks:secrets:*"):
            if redis.hexists(key, "previous_until"):
                redis.hincrbyfloat(key, "previous_until", -seconds)

    return Safe(redis_secrets(redis), redis_secrets(redis, house=None), later)


def test_the_house_signs_for_whoever_has_no_secret(safe: Safe) -> None:
    assert safe.with_house.valid("studio") == (HOUSE,)


def test_without_any_secret_nothing_is_signed(safe: Safe) -> None:
    assert safe.without.valid("studio") == ()


def test_a_new_secret_is_a_strong_one_and_signs_beside_the_one_before(safe: Safe) -> None:
    first = safe.with_house.rotate("studio")
    second = safe.with_house.rotate("studio")

    assert len(base64.b64decode(first.secret.get_secret_value().removeprefix("whsec_"))) == 32
    assert safe.with_house.valid("studio") == (second.secret, first.secret)


def test_the_first_secret_of_a_tenant_follows_that_of_the_house(safe: Safe) -> None:
    new = safe.with_house.rotate("studio")
    assert safe.with_house.valid("studio") == (new.secret, HOUSE)


def test_the_first_secret_of_all_follows_none(safe: Safe) -> None:
    new = safe.without.rotate("studio")
    assert new.previous_until is None
    assert safe.without.valid("studio") == (new.secret,)


def test_after_the_overlap_only_the_new_one_is_left(safe: Safe) -> None:
    new = safe.with_house.rotate("studio")
    assert new.previous_until is not None
    assert (new.previous_until - datetime.now(UTC)).total_seconds() == pytest.approx(OVERLAP_S, abs=60)

    safe.later(OVERLAP_S + 1)

    assert safe.with_house.valid("studio") == (new.secret,)


def test_tenants_have_nothing_to_do_with_each_other(safe: Safe) -> None:
    new = safe.without.rotate("one")
    assert safe.without.valid("two") == ()
    assert safe.without.rotate("two").secret != new.secret


def test_redis_never_holds_a_secret_that_can_be_read(redis_url: str) -> None:
    redis = connect(redis_url)
    secrets = redis_secrets(redis)
    new = secrets.rotate("studio").secret.get_secret_value()

    kept = str(redis.hgetall("highsync:webhooks:secrets:studio"))

    for secret in (new, HOUSE.get_secret_value()):
        assert secret.removeprefix("whsec_") not in kept


def test_under_another_secret_key_nothing_is_signed_wrongly_and_rotating_helps(redis_url: str) -> None:
    redis = connect(redis_url)
    redis_secrets(redis).rotate("studio")
    other = redis_secrets(redis, key=SecretStr("another key for tests, long enough"))

    with pytest.raises(SecretKeyChanged):
        other.valid("studio")
    new = other.rotate("studio")

    assert other.valid("studio") == (new.secret,)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_a", "whsec_c2hvcnQ=", "not base64 but long enough, surely"])
def test_an_unusable_house_secret_is_refused_at_the_start(secret: str) -> None:
    with pytest.raises(ValueError, match="random bytes"):
        Settings(secret_key="x" * 32, webhook_secret=secret)
