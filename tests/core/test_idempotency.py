"""Idempotency keys: one contract, kept by Redis and by the fake. Attack case 36."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from core.errors import IdempotencyKeyInUse, IdempotencyKeyReused
from core.idempotency import CLAIM_S, Claim, IdempotencyKeys, MemoryIdempotencyKeys, RedisIdempotencyKeys
from core.redis_client import connect

TTL_S = 3600


@dataclass(frozen=True)
class House:
    keys: IdempotencyKeys
    let_pass: Callable[[float], None]

    def claim(self, *, tenant: str = "studio", key: str = "k", wish: str = "a", new_id: str = "new") -> Claim:
        claim = self.keys.claim(tenant, key, wish, new_id)
        assert isinstance(claim, Claim), "it was answered before"
        return claim


@pytest.fixture(params=["memory", "redis"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    now = [time.time()]

    def tick(seconds: float) -> None:
        now[0] += seconds

    if request.param == "memory":
        yield House(MemoryIdempotencyKeys(TTL_S, clock=lambda: now[0]), tick)
        return
    redis = connect(request.getfixturevalue("redis_url"))

    def age(seconds: float) -> None:
        for name in redis.scan_iter("highsync:idempotency:*"):
            if redis.hexists(name, "claimed_until"):
                redis.hincrbyfloat(name, "claimed_until", -seconds)
            redis.pexpire(name, redis.pttl(name) - round(seconds * 1000))

    yield House(RedisIdempotencyKeys(redis, TTL_S), age)
    redis.close()


def test_the_first_answer_is_given_again_and_again(house: House) -> None:
    house.keys.keep(house.claim(), "the first answer")

    assert [house.keys.claim("studio", "k", "a", f"id {n}") for n in range(3)] == ["the first answer"] * 3


def test_another_wish_under_the_same_key_is_refused_before_and_after_the_answer(house: House) -> None:
    claim = house.claim()
    with pytest.raises(IdempotencyKeyReused):
        house.claim(wish="b")

    house.keys.keep(claim, "answer")
    with pytest.raises(IdempotencyKeyReused):
        house.claim(wish="b")


def test_a_key_in_use_is_nobody_elses(house: House) -> None:
    house.claim()

    with pytest.raises(IdempotencyKeyInUse):
        house.claim()


def test_one_of_many_gets_the_claim(house: House) -> None:
    def wins(number: int) -> bool:
        try:
            return isinstance(house.keys.claim("studio", "k", "a", str(number)), Claim)
        except IdempotencyKeyInUse:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(wins, range(40))) == 1


def test_tenants_and_keys_do_not_meet(house: House) -> None:
    house.keys.keep(house.claim(), "answer")

    assert house.claim(tenant="other", wish="b").token == 1
    assert house.claim(key="K", wish="b").token == 1


def test_after_a_death_the_next_one_goes_on_under_the_same_id(house: House) -> None:
    dead = house.claim(new_id="the first id")
    house.let_pass(CLAIM_S + 1)

    heir = house.claim(new_id="another id")

    assert (heir.reserved_id, heir.token) == ("the first id", dead.token + 1)
    house.keys.keep(heir, "answer")
    house.keys.keep(dead, "a late answer")
    assert house.keys.claim("studio", "k", "a", "x") == "answer"


def test_a_refused_request_frees_its_key_for_another_one(house: House) -> None:
    house.keys.give_up(house.claim(), nothing_made=True)

    assert house.claim(wish="b", new_id="fresh").reserved_id == "fresh"


def test_a_fault_frees_the_key_for_the_same_request_only(house: House) -> None:
    house.keys.give_up(house.claim(new_id="the first id"), nothing_made=False)

    with pytest.raises(IdempotencyKeyReused):
        house.claim(wish="b")
    assert house.claim(new_id="another").reserved_id == "the first id"


def test_a_refusal_after_a_fault_does_not_forget_what_may_have_been_made(house: House) -> None:
    house.keys.give_up(house.claim(new_id="the first id"), nothing_made=False)
    house.keys.give_up(house.claim(), nothing_made=True)

    assert house.claim(new_id="another").reserved_id == "the first id"


def test_a_claim_that_has_run_out_gives_up_nothing(house: House) -> None:
    late = house.claim()
    house.let_pass(CLAIM_S + 1)
    house.claim()

    house.keys.give_up(late, nothing_made=True)

    with pytest.raises(IdempotencyKeyInUse):
        house.claim()


def test_answers_are_forgotten_in_time(house: House) -> None:
    house.keys.keep(house.claim(), "answer")
    house.let_pass(TTL_S - 1)
    assert house.keys.claim("studio", "k", "a", "x") == "answer"

    house.let_pass(2)

    assert house.claim(wish="b", new_id="fresh").reserved_id == "fresh"


def test_a_key_may_be_any_text_and_is_not_kept_itself(house: House, redis_url: str) -> None:
    key = "ü\x00:*\n" * 1000
    house.keys.keep(house.claim(key=key), "answer")

    assert house.keys.claim("studio", key, "a", "x") == "answer"
    assert all(len(name) < 120 for name in connect(redis_url).scan_iter("*"))
