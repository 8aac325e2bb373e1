"""Hashes of files, as hex digits."""

import hashlib
import re
from pathlib import Path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_id(path: Path) -> str:
    """What git calls a file's content. Raises OSError."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_announced_hash(digest: str) -> bool:
    """Whether these are the hex digits of a hash by which the Hub announces files, and calls them in its cache."""
    return re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", digest) is not None


def announced_hash(path: Path, digest: str) -> str:
    """What the Hub would call a file, by a hash of the kind of `digest`: large files by SHA-256, small ones as git."""
    return file_sha256(path) if len(digest) == 64 else git_blob_id(path)
