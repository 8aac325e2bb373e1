"""Queries of URLs: sealed in records, open in use, never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from core.errors import SecretKeyChanged
from core.private_urls import PrivateUrls, is_safe_to_keep, public_url
from tests.core.houses import make_job

URLS = PrivateUrls(SecretStr("a key for tests, long enough by far"))
places = st.text(st.characters(exclude_characters="?#", exclude_categories=["Cs"]))
queries = st.text(st.characters(exclude_characters="#", exclude_categories=["Cs"]))


@given(places, queries)
def test_a_sealed_url_is_safe_to_keep_and_opens_to_what_it_was(place: str, query: str) -> None:
    url = f"{place}?{query}"
    sealed = URLS.seal(url)

    assert URLS.open(sealed) == url
    assert is_safe_to_keep(sealed)
    assert public_url(sealed) == public_url(url) == place


@given(places)
def test_a_url_without_a_query_stays_as_it_is(url: str) -> None:
    assert URLS.seal(url) == URLS.open(url) == url
    assert is_safe_to_keep(url)


def test_the_secret_cannot_be_read() -> None:
    sealed = URLS.seal("https://h.org/a.mp4?X-Amz-Signature=hunter2#hunter2")
    assert sealed.startswith("https://h.org/a.mp4?sealed=")
    assert "hunter2" not in sealed
    assert "Amz" not in sealed


def test_what_looks_sealed_is_sealed_like_anything_else() -> None:
    url = "https://h.org/a.mp4?sealed=gAAAAA"
    assert URLS.open(URLS.seal(url)) == url


def test_another_key_opens_nothing() -> None:
    other = PrivateUrls(SecretStr("another key for tests, long enough"))
    with pytest.raises(SecretKeyChanged):
        other.open(URLS.seal("https://h.org/a.mp4?a=1"))


@pytest.mark.parametrize("field", ["video_url", "audio_url", "webhook_url"])
def test_a_record_takes_no_query_that_can_be_read(field: str) -> None:
    with pytest.raises(ValidationError, match="must be sealed"):
        make_job(**{field: "https://h.org/a?token=hunter2"})
    assert make_job(**{field: URLS.seal("https://h.org/a?token=hunter2")})
