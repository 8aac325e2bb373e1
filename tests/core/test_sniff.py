"""What is no media is told by its first bytes, and no media is taken for something else."""

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import NotMedia
from core.sniff import SNIFF_BYTES, refuse_non_media
from tests import media_factory


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (zipped(), "ZIP"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf\r\n  <HTML lang=de>", "web page"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "web page"),
        (b"<html>\x00\x01\xff", "web page"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://10.0.0.1/secret.ts\n", "text"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "text"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "text"),
        (b'{"error": "not found"}', "text"),
        ("Übergrößenträger ".encode() * 100, "text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "PNG"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "JPEG"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"\x7fELF\x02\x01\x01\x00", "program"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"a.txt" + bytes(252) + b"ustar\x00", "tar"),
    ],
)
def test_what_is_no_media_is_refused_by_name(head: bytes, kind: str) -> None:
    with pytest.raises(NotMedia, match=kind):
        refuse_non_media(head)


MEDIA: dict[str, Callable[[Path], Path]] = {
    "mp4": media_factory.make_video,
    "mkv": media_factory.make_video,
    "mov": media_factory.make_video,
    "avi": media_factory.make_video,
    "ts": media_factory.make_video,
    "wav": media_factory.make_voice,
}


@pytest.mark.parametrize("suffix", MEDIA)
def test_media_pass(tmp_path: Path, suffix: str) -> None:
    refuse_non_media(MEDIA[suffix](tmp_path / f"file.{suffix}").read_bytes()[:SNIFF_BYTES])


@pytest.mark.parametrize(
    "head", [b"ID3\x04\x00\x00", b"\xff\xfb\x90\x64\x00", b"fLaC\x00", b"OggS\x00", b"\xff\xf1\x50\x80", b"RIFF\x00"]
)
def test_beginnings_of_audio_pass(head: bytes) -> None:
    refuse_non_media(head + bytes(100))


@given(st.binary(max_size=2 * SNIFF_BYTES))
def test_any_bytes_pass_or_are_refused(head: bytes) -> None:
    with suppress(NotMedia):
        refuse_non_media(head)
