"""What a key is: its text, its record, what it permits."""

from datetime import UTC, datetime

import pytest

from core.api_keys import KeyLimits, Scope
from core.api_keys.keys import new_key, split_key

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_the_text_of_a_key_names_it_and_opens_it() -> None:
    key, text = new_key("ada", [Scope.READ], KeyLimits(), NOW)

    key_id, secret = split_key(text.get_secret_value()) or ("", "")

    assert key_id == key.id
    assert key.opens_with(secret)


def test_no_two_keys_are_alike_and_none_opens_for_another() -> None:
    keys = [new_key("ada", [Scope.READ], KeyLimits(), NOW) for _ in range(50)]
    secrets = [(split_key(text.get_secret_value()) or ("", ""))[1] for _, text in keys]
    assert len({key.id for key, _ in keys}) == len(set(secrets)) == 50
    assert not keys[0][0].opens_with(secrets[1])


def test_the_record_does_not_hold_the_secret() -> None:
    """Attack case 37: whoever reads Redis or a backup of it cannot use any key."""
    key, text = new_key("ada", [Scope.READ], KeyLimits(), NOW)
    secret = text.get_secret_value().split("_", 2)[2]
    assert secret not in key.model_dump_json()
    assert text.get_secret_value() not in repr(text)


class Watched(str):
    """A text that tells when somebody compares it character by character."""

    __hash__ = str.__hash__
    compared = 0

    def __eq__(self, other: object) -> bool:
        Watched.compared += 1
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other


def test_a_secret_is_compared_in_constant_time() -> None:
    """Attack case 37. That `==` would have been told is shown, too."""
    key, text = new_key("ada", [Scope.READ], KeyLimits(), NOW)
    secret = text.get_secret_value().split("_", 2)[2]
    watched = key.model_copy(update={"secret_sha256": Watched(key.secret_sha256)})

    assert (watched.opens_with(secret), watched.opens_with("x" * 43), Watched.compared) == (True, False, 0)
    assert (key.secret_sha256 == watched.secret_sha256, Watched.compared) == (True, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hs_",
        "hs_0123456789ab_",
        "hs_0123456789ab_" + "x" * 42,
        "hs_0123456789AB_" + "x" * 43,
        "sk_0123456789ab_" + "x" * 43,
        "hs_0123456789ab_" + "x" * 43 + "\n",
        "hs_0123456789ab_" + "é" * 43,
        "x" * 100_000,
    ],
)
def test_what_is_no_key_is_not_taken_for_one(text: str) -> None:
    assert split_key(text) is None


def test_a_scope_permits_itself_and_admin_permits_all() -> None:
    reader, admin = (new_key("ada", [scope], KeyLimits(), NOW)[0] for scope in (Scope.READ, Scope.ADMIN))
    assert [reader.permits(scope) for scope in Scope] == [False, True, False]
    assert all(admin.permits(scope) for scope in Scope)


@pytest.mark.parametrize("tenant", ["", "Ada", "a b", "-a", "a:b", "a" * 64, "a\n", "../a"])
def test_a_tenants_name_is_plain(tenant: str) -> None:
    with pytest.raises(ValueError):
        new_key(tenant, [Scope.READ], KeyLimits(), NOW)


def test_a_key_without_scopes_is_none() -> None:
    with pytest.raises(ValueError):
        new_key("ada", [], KeyLimits(), NOW)


def test_several_keys_together_permit_what_the_most_generous_does() -> None:
    one = KeyLimits(max_running=1, max_queued=10, requests_per_minute=60)
    other = KeyLimits(max_running=2, requests_per_minute=30, storage_bytes=5)
    assert KeyLimits.most_generous([one, other]) == KeyLimits(max_running=2, requests_per_minute=60)
    assert KeyLimits.most_generous([one]) == one
    assert KeyLimits.most_generous([]) == KeyLimits()
