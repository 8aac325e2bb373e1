"""Signed, expiring links to files of a local storage: what a bucket does by itself with presigned URLs."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from core.errors import LinkInvalid


@dataclass(frozen=True, slots=True)
class Link:
    """What a link permits: one method on one key until `expires` (seconds since the epoch)."""

    method: str
    key: str
    expires: int
    filename: str = ""
    max_bytes: int = 0


class LinkSigner:
    """Makes and checks links of the form BASE/files/KEY?expires=…&filename=…|max_bytes=…&signature=…"""

    def __init__(self, base_url: str, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = hmac.digest(secret.encode(), b"highsync file links", hashlib.sha256)
        self._clock = clock

    def download_url(self, key: str, ttl_s: int, filename: str) -> str:
        """A link that GETs this object and saves it under this name."""
        link = Link("GET", key, self._expiry(ttl_s), filename=filename)
        return self._url(link, {"filename": filename})

    def upload_url(self, key: str, ttl_s: int, max_bytes: int) -> str:
        """A link that PUTs this object."""
        link = Link("PUT", key, self._expiry(ttl_s), max_bytes=max_bytes)
        return self._url(link, {"max_bytes": str(max_bytes)})

    def verify(self, method: str, key: str, query: Mapping[str, str]) -> Link:
        """What this request may do. HEAD is let in where GET is. Raises LinkInvalid, without saying what was wrong."""
        try:
            link = Link(
                method="GET" if method == "HEAD" else method,
                key=key,
                expires=int(query["expires"]),
                filename=query.get("filename", ""),
                max_bytes=int(query.get("max_bytes", "0")),
            )
            signature = query["signature"].encode()
        except (KeyError, ValueError) as error:
            raise LinkInvalid("This link is not complete.") from error
        if not hmac.compare_digest(signature, self._signature(link).encode()) or link.expires <= self._clock():
            raise LinkInvalid("This link is not valid, or not any more.")
        return link

    def _expiry(self, ttl_s: int) -> int:
        return int(self._clock()) + ttl_s

    def _url(self, link: Link, extra: Mapping[str, str]) -> str:
        query = {"expires": str(link.expires), **extra, "signature": self._signature(link)}
        return f"{self._base_url}/files/{quote(link.key)}?{urlencode(query)}"

    def _signature(self, link: Link) -> str:
        signed = json.dumps([link.method, link.key, link.expires, link.filename, link.max_bytes])
        return hmac.new(self._key, signed.encode(), hashlib.sha256).hexdigest()
