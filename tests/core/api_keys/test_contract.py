"""What every store of keys promises, in memory and in Redis; and what the keyring makes of it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from core.api_keys import (
    ApiKey,
    KeyId,
    KeyLimits,
    Keyring,
    KeyStore,
    MemoryKeyStore,
    RedisKeyStore,
    Scope,
    authenticate,
    limits_of,
)
from core.api_keys.keys import new_key
from core.errors import InvalidApiKey, QueueUnavailable
from core.job_store import JobStore
from core.redis_client import connect
from tests.core.houses import House, claim, make_job
from tests.servers import RedisServer

NOW = datetime(2026, 11, 25, 9, 30, 0, 123456, tzinfo=UTC)
UNKNOWN = KeyId("0" * 12)


@dataclass(frozen=True)
class Cabinet:
    """A store of keys, and its clock."""

    keys: KeyStore
    let_pass: Callable[[float], None]


def age_buckets(client: Redis, seconds: float) -> None:
    for bucket in client.scan_iter("highsync:keys:bucket:*"):
        client.hincrbyfloat(bucket, "at", -seconds)


@pytest.fixture(params=["memory", "redis"])
def cabinet(request: pytest.FixtureRequest) -> Iterator[Cabinet]:
    if request.param == "redis":
        client = connect(request.getfixturevalue("redis_url"))
        yield Cabinet(RedisKeyStore(client), lambda seconds: age_buckets(client, seconds))
        client.close()
        return
    now = [time.monotonic()]

    def let_pass(seconds: float) -> None:
        now[0] += seconds

    yield Cabinet(MemoryKeyStore(clock=lambda: now[0]), let_pass)


@pytest.fixture
def keys(cabinet: Cabinet) -> KeyStore:
    return cabinet.keys


@pytest.fixture
def keyring(keys: KeyStore, store: JobStore) -> Keyring:
    return Keyring(keys, store)


def add(keys: KeyStore, tenant: str = "ada", at: datetime = NOW, limits: KeyLimits | None = None) -> ApiKey:
    key, _ = new_key(tenant, [Scope.SUBMIT, Scope.READ], limits or KeyLimits(), at)
    keys.add(key)
    return key


# the store


def test_a_key_is_kept_as_it_is(keys: KeyStore) -> None:
    key = add(keys, limits=KeyLimits(max_running=2, requests_per_minute=60, retention_s=3600))
    assert keys.get(key.id) == key
    assert keys.get(UNKNOWN) is None


def test_keys_are_listed_oldest_first(keys: KeyStore) -> None:
    second, first, third = (add(keys, at=NOW + timedelta(seconds=after)) for after in (1, 0, 2))
    keys.revoke(first.id, NOW)
    assert [key.id for key in keys.list()] == [first.id, second.id, third.id]


def test_a_revoked_key_says_since_when_and_stays_so(keys: KeyStore) -> None:
    key = add(keys)
    revoked = keys.revoke(key.id, NOW + timedelta(hours=1))
    again = keys.revoke(key.id, NOW + timedelta(hours=2))
    assert revoked == again == keys.get(key.id) == key.model_copy(update={"revoked_at": NOW + timedelta(hours=1)})
    assert keys.list() == (revoked,)


def test_each_revocation_shows_in_their_number(keys: KeyStore) -> None:
    one, other = add(keys), add(keys)
    numbers = [keys.revocations()]
    for key in (one, one, other):
        keys.revoke(key.id, NOW)
        numbers.append(keys.revocations())
    assert numbers == [0, 1, 1, 2]


def test_nobody_revokes_what_there_is_not(keys: KeyStore) -> None:
    assert keys.revoke(UNKNOWN, NOW) is None
    assert keys.list() == ()


def test_the_house_remembers_that_it_had_keys(keys: KeyStore) -> None:
    assert not keys.any()
    key = add(keys)
    assert keys.any()
    keys.revoke(key.id, NOW)
    assert keys.any()


# the rate


def test_a_burst_passes_up_to_the_limit_and_then_one_at_a_time(cabinet: Cabinet) -> None:
    key = add(cabinet.keys)
    assert [cabinet.keys.take_token(key.id, 3) for _ in range(3)] == [0.0, 0.0, 0.0]

    wait_s = cabinet.keys.take_token(key.id, 3)

    assert 0.0 < wait_s <= 20.0
    cabinet.let_pass(wait_s + 0.01)
    assert cabinet.keys.take_token(key.id, 3) == 0.0
    assert cabinet.keys.take_token(key.id, 3) > 0.0


def test_a_refused_request_costs_nothing(cabinet: Cabinet) -> None:
    key = add(cabinet.keys)
    cabinet.keys.take_token(key.id, 1)
    for _ in range(20):
        assert cabinet.keys.take_token(key.id, 1) <= 60.0
    cabinet.let_pass(60.0)
    assert cabinet.keys.take_token(key.id, 1) == 0.0


def test_no_more_is_saved_than_a_minutes_worth(cabinet: Cabinet) -> None:
    key = add(cabinet.keys)
    cabinet.keys.take_token(key.id, 2)
    cabinet.let_pass(3600.0)
    assert [cabinet.keys.take_token(key.id, 2) > 0.0 for _ in range(3)] == [False, False, True]


def test_each_key_has_a_rate_of_its_own(keys: KeyStore) -> None:
    one, other = add(keys), add(keys)
    assert keys.take_token(one.id, 1) == 0.0
    assert keys.take_token(one.id, 1) > 0.0
    assert keys.take_token(other.id, 1) == 0.0


def test_requests_at_the_same_time_share_the_tokens(keys: KeyStore) -> None:
    key = add(keys)
    with ThreadPoolExecutor(16) as clients:
        waits = list(clients.map(lambda _: keys.take_token(key.id, 10), range(40)))
    assert sum(wait == 0.0 for wait in waits) == 10


# the keyring


def test_a_new_key_opens_the_door_with_its_text_alone(keyring: Keyring, keys: KeyStore) -> None:
    key, text = keyring.create("ada", [Scope.SUBMIT], KeyLimits())
    other, _ = keyring.create("ben", [Scope.SUBMIT], KeyLimits())

    assert authenticate(keys, text.get_secret_value()) == key
    borrowed = text.get_secret_value().replace(key.id, other.id)
    for wrong in (borrowed, text.get_secret_value()[:-1] + "?", "", UNKNOWN, text.get_secret_value() + "x"):
        with pytest.raises(InvalidApiKey):
            authenticate(keys, wrong)


def test_a_refusal_does_not_say_what_was_wrong(keyring: Keyring, keys: KeyStore) -> None:
    """Attack case 37: neither which ids there are, nor which were revoked."""
    key, text = keyring.create("ada", [Scope.SUBMIT], KeyLimits())
    keyring.revoke(key.id)
    secret = text.get_secret_value().rpartition("_")[2]
    refusals = set()
    for wrong in (text.get_secret_value(), f"hs_{key.id}_{'x' * 43}", f"hs_{UNKNOWN}_{secret}", "nonsense"):
        with pytest.raises(InvalidApiKey) as refusal:
            authenticate(keys, wrong)
        refusals.add(refusal.value.message)
    assert len(refusals) == 1


def test_a_revoked_key_is_dead_at_once_for_every_process(redis_url: str, store: JobStore) -> None:
    """Each process asks Redis anew at every request."""
    one, other = RedisKeyStore.connect(redis_url), RedisKeyStore.connect(redis_url)
    key, text = Keyring(one, store).create("ada", [Scope.SUBMIT], KeyLimits())
    assert authenticate(other, text.get_secret_value()) == key

    assert Keyring(one, store).revoke(key.id) is not None

    with pytest.raises(InvalidApiKey):
        authenticate(other, text.get_secret_value())


def test_keys_outlive_a_power_cut(redis_server: RedisServer, store: JobStore) -> None:
    keys = RedisKeyStore.connect(redis_server.url)
    kept, text = Keyring(keys, store).create("ada", [Scope.SUBMIT], KeyLimits())
    ended, _ = Keyring(keys, store).create("ada", [Scope.SUBMIT], KeyLimits())
    Keyring(keys, store).revoke(ended.id)
    redis_server.kill()
    with pytest.raises(QueueUnavailable):
        authenticate(keys, text.get_secret_value())
    redis_server.start()

    assert authenticate(keys, text.get_secret_value()) == kept
    assert [key.revoked_at is None for key in keys.list()] == [True, False]


def test_a_tenants_limits_are_those_of_its_valid_keys(keyring: Keyring, keys: KeyStore) -> None:
    small, _ = keyring.create("ada", [Scope.SUBMIT], KeyLimits(max_queued=1))
    large, _ = keyring.create("ada", [Scope.SUBMIT], KeyLimits(max_queued=5))
    keyring.create("ben", [Scope.SUBMIT], KeyLimits(max_queued=9))

    assert limits_of("ada", keys) == KeyLimits(max_queued=5)
    keyring.revoke(large.id)
    assert limits_of("ada", keys) == KeyLimits(max_queued=1)
    keyring.revoke(small.id)
    assert limits_of("ada", keys) == KeyLimits(max_queued=5)
    assert limits_of("cleo", keys) == KeyLimits()


def test_how_many_jobs_run_follows_the_keys(keys: KeyStore, house: House) -> None:
    keyring = Keyring(keys, house.store)
    keyring.create("ada", [Scope.SUBMIT], KeyLimits(max_running=1))
    for _ in range(3):
        house.store.create(make_job(tenant="ada"))
    claim(house.store)
    assert house.store.claim_next("worker-1") is None

    more, _ = keyring.create("ada", [Scope.SUBMIT], KeyLimits(max_running=2))
    claim(house.store)
    keyring.revoke(more.id)

    assert house.store.claim_next("worker-1") is None
