"""
The one door for outgoing HTTP: inputs are fetched and webhooks delivered here, and nowhere else.

A URL comes from a stranger, so nothing about it is trusted. Its name is resolved at the moment of connecting, every
address is checked, and the connection goes to exactly an address that was checked: a second answer of the resolver
cannot matter. Each redirect starts over from the beginning. TLS still verifies the name of the URL. There are no
proxies, cookies, credentials or compressed replies.
"""

from core.outgoing.addresses import FetchPolicy
from core.outgoing.download import Downloaded, FetchLimits, download
from core.outgoing.post import PostAnswer, PostFailed, post_json
from core.outgoing.url import OutgoingUrl

__all__ = ["Downloaded", "FetchLimits", "FetchPolicy", "PostAnswer", "PostFailed", "check_url", "download", "post_json"]


def check_url(url: str, policy: FetchPolicy) -> None:
    """Refuse early, without any network, what `download` would refuse later. UnsupportedUrl, AddressBlocked."""
    parsed = OutgoingUrl.parse(url)
    policy.check_unresolved(parsed.host, parsed.port)
