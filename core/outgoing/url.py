"""Reading a stranger's URL strictly, once."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self
from urllib.parse import quote, urljoin, urlsplit

import httpcore
import idna

from core.errors import UnsupportedUrl

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_URL_CHARS = 8192
_MAX_HOST_CHARS = 253
_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")
_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LOOKS_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_URL_SAFE = "/%:@!$&'()*+,;=?-._~"


@dataclass(frozen=True, slots=True)
class OutgoingUrl:
    """An http(s) URL, taken apart once. Every later step uses these parts, so no two parsers can disagree."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL strictly. Messages never repeat it: it may carry secrets. UnsupportedUrl."""
        if len(text) > _MAX_URL_CHARS or _NOT_IN_A_URL.search(text):
            raise UnsupportedUrl("The URL is longer than 8192 characters, or has spaces, control characters or '\\'.")
        try:
            parts = urlsplit(text)
            port, host = parts.port, _host_name(parts.hostname or "")
            target = quote(parts.path or "/", safe=_URL_SAFE) + ("?" if parts.query else "")
            target += quote(parts.query, safe=_URL_SAFE)
        except ValueError as error:
            raise UnsupportedUrl("The URL cannot be parsed.") from error
        if parts.scheme not in _DEFAULT_PORTS:
            raise UnsupportedUrl(f"{parts.scheme or 'A URL without a scheme'} is not a scheme we fetch.")
        if "@" in parts.netloc:
            raise UnsupportedUrl("The URL carries a user name or password.")
        if port == 0:
            raise UnsupportedUrl("Port 0 does not exist.")
        return cls(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], target)

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: the value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def request(
        self, method: str, headers: Iterable[tuple[str, str]], content: bytes | None = None
    ) -> httpcore.Request:
        """A request for this URL, as httpcore takes it."""
        url = httpcore.URL(scheme=self.scheme, host=self.host, port=self.port, target=self.target)
        return httpcore.Request(method, url, headers=[("Host", self.authority), *headers], content=content)

    def follow(self, location: bytes) -> "OutgoingUrl":
        """The URL a redirect leads to. UnsupportedUrl, also for a step down from https to http."""
        try:
            joined = urljoin(f"{self.scheme}://{self.authority}{self.target}", location.decode())
        except ValueError as error:
            raise UnsupportedUrl("A redirect leads to something that is not a URL.") from error
        target = OutgoingUrl.parse(joined)
        if (self.scheme, target.scheme) == ("https", "http"):
            raise UnsupportedUrl("A redirect leads from https to http.")
        return target


def _host_name(host: str) -> str:
    """A host in its one canonical spelling: lower case, ASCII, no root dot. ValueError for anything ambiguous."""
    host = host.removesuffix(".").lower()
    if "%" in host:
        raise ValueError("an escape or an IPv6 zone")
    if ":" in host:  # urlsplit leaves colons only in what stood in brackets
        return str(IPv6Address(host))
    if not host.isascii():
        host = idna.encode(host).decode("ascii")
    if len(host) > _MAX_HOST_CHARS or not _HOST_NAME.fullmatch(host):
        raise ValueError("not a host name")
    if _LOOKS_NUMERIC.fullmatch(host):  # 127.1, 0x7f.1 and 2130706433 are loopback to some systems
        return str(IPv4Address(host))
    return host
