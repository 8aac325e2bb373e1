"""A signed link permits one method on one key, for a while, and nothing else."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import LinkInvalid
from core.storage import Link, LinkSigner

SECRET = "correct-horse-battery-staple-0123456789"
NOW = 1_700_000_000.0
KEY = "jobs/j1/attempt-1/result.mp4"
SIGNER = LinkSigner("https://dub.example.org/", SECRET, clock=lambda: NOW)


def parts(url: str) -> tuple[str, dict[str, str]]:
    split = urlsplit(url)
    return split.path.removeprefix("/files/"), dict(parse_qsl(split.query, strict_parsing=True))


def test_a_link_leads_to_the_api() -> None:
    assert SIGNER.download_url(KEY, 60, "dub.mp4").startswith(f"https://dub.example.org/files/{KEY}?")


@given(filename=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), ttl_s=st.integers(1, 10**6))
def test_a_download_link_permits_what_was_signed(filename: str, ttl_s: int) -> None:
    key, query = parts(SIGNER.download_url(KEY, ttl_s, filename))
    expected = Link("GET", KEY, int(NOW) + ttl_s, filename=filename)
    assert SIGNER.verify("GET", key, query) == SIGNER.verify("HEAD", key, query) == expected


def test_an_upload_link_permits_what_was_signed() -> None:
    key, query = parts(SIGNER.upload_url("uploads/u1", 60, max_bytes=1000))
    assert SIGNER.verify("PUT", key, query) == Link("PUT", "uploads/u1", int(NOW) + 60, max_bytes=1000)


@pytest.mark.parametrize(
    "change",
    [
        {"expires": "9999999999"},
        {"filename": "other.exe"},
        {"max_bytes": "1"},
        {"signature": ""},
        {"signature": "ü"},
        {"signature": "0" * 64},
        {"expires": "soon"},
        {"max_bytes": "all"},
    ],
    ids=str,
)
def test_a_changed_link_is_refused(change: dict[str, str]) -> None:
    key, query = parts(SIGNER.download_url(KEY, 60, "dub.mp4"))
    with pytest.raises(LinkInvalid):
        SIGNER.verify("GET", key, query | change)


@pytest.mark.parametrize("missing", ["expires", "filename", "signature"])
def test_an_incomplete_link_is_refused(missing: str) -> None:
    key, query = parts(SIGNER.download_url(KEY, 60, "dub.mp4"))
    del query[missing]
    with pytest.raises(LinkInvalid):
        SIGNER.verify("GET", key, query)


def test_a_larger_upload_than_signed_is_refused() -> None:
    key, query = parts(SIGNER.upload_url("uploads/u1", 60, max_bytes=1000))
    with pytest.raises(LinkInvalid):
        SIGNER.verify("PUT", key, query | {"max_bytes": "1000000"})


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "HEAD"])
def test_a_link_is_for_one_method(method: str) -> None:
    upload_key, upload = parts(SIGNER.upload_url("uploads/u1", 60, 10))
    download_key, download = parts(SIGNER.download_url(KEY, 60, "dub.mp4"))
    key, query = (upload_key, upload) if method == "HEAD" else (download_key, download)
    with pytest.raises(LinkInvalid):
        SIGNER.verify(method, key, query)


def test_a_link_is_for_one_key() -> None:
    _, query = parts(SIGNER.download_url(KEY, 60, "dub.mp4"))
    with pytest.raises(LinkInvalid):
        SIGNER.verify("GET", "jobs/j2/attempt-1/result.mp4", query)


def test_a_link_expires() -> None:
    key, query = parts(SIGNER.download_url(KEY, 60, "dub.mp4"))
    in_time = LinkSigner("", SECRET, clock=lambda: NOW + 59)
    too_late = LinkSigner("", SECRET, clock=lambda: NOW + 60)
    assert in_time.verify("GET", key, query)
    with pytest.raises(LinkInvalid):
        too_late.verify("GET", key, query)


def test_another_secret_makes_another_signature() -> None:
    key, query = parts(SIGNER.download_url(KEY, 60, "dub.mp4"))
    with pytest.raises(LinkInvalid):
        LinkSigner("", SECRET[::-1], clock=lambda: NOW).verify("GET", key, query)
