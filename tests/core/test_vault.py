"""What is sealed can be opened by who sealed it, and by nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from core.errors import SecretKeyChanged
from core.vault import Vault

KEY = SecretStr("a key for tests, long enough by far")
VAULT = Vault(KEY, "tests")


@given(st.text())
def test_what_was_sealed_is_opened(text: str) -> None:
    assert Vault(KEY, "tests").open(VAULT.seal(text)) == text


def test_the_same_text_looks_different_each_time_and_never_like_itself() -> None:
    tokens = {VAULT.seal("hunter2 hunter2 hunter2") for _ in range(3)}
    assert len(tokens) == 3
    assert not any("hunter2" in token for token in tokens)


@pytest.mark.parametrize("other", [Vault(KEY, "else"), Vault(SecretStr("another key, long enough by far"), "tests")])
def test_another_key_or_purpose_opens_nothing(other: Vault) -> None:
    with pytest.raises(SecretKeyChanged) as refusal:
        other.open(VAULT.seal("hunter2"))
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("change", [lambda t: t[:-8], lambda t: t.swapcase(), lambda t: "", lambda t: "x" + t])
def test_a_changed_token_opens_nothing(change: object) -> None:
    assert callable(change)
    with pytest.raises(SecretKeyChanged):
        VAULT.open(change(VAULT.seal("hunter2")))
