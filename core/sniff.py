"""
What the first bytes of a file give away. Nothing is believed because of them: only what certainly is no media is
refused early, before a worker or much of a download is spent on it. What passes, the worker opens in its own way.
"""

import re

from core.errors import NotMedia

SNIFF_BYTES = 1024
"""How much of a file is looked at."""

_MAGIC = {
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"PK\x05\x06": "an empty ZIP archive",
    b"%PDF-": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF87a": "a GIF picture",
    b"GIF89a": "a GIF picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}
_TAR_AT_257 = b"ustar"
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")
_PAGE = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml|!--|svg)", re.IGNORECASE)
_UTF8_BOM = b"\xef\xbb\xbf"


def refuse_non_media(head: bytes) -> None:
    """Raise NotMedia when a file that begins so is certainly neither video nor audio."""
    if kind := _non_media_kind(head[:SNIFF_BYTES]):
        raise NotMedia(f"The file is {kind}, neither video nor audio.")


def _non_media_kind(head: bytes) -> str | None:
    if not head:
        return "empty"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[257:262] == _TAR_AT_257:
        return "a tar archive"
    if _PAGE.match(head.removeprefix(_UTF8_BOM)):
        return "a web page or another document in tags"
    return "text" if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    """Playlists, scripts, JSON, error messages. Media have bytes early on that no text has."""
    if not _TEXT.fullmatch(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # the end of the sample may cut a character
    return True
