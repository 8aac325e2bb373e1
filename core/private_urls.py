"""
URLs that carry a secret in their query, as presigned ones do: sealed in the records of jobs, open only while in use.

`https://host/path?secret` is kept as `https://host/path?sealed=TOKEN`, so a sealed URL can stand wherever a URL does.
`core.jobs.Job` takes no other query, and the scripts of the job store cut the tokens of inputs off when a job succeeds.
"""

import re

from pydantic import SecretStr

from core.vault import Vault

_SEALED = re.compile(r"sealed=([A-Za-z0-9_=-]+)")


class PrivateUrls:
    """Seals URLs and opens them, with a key made from HIGHSYNC_SECRET_KEY."""

    def __init__(self, secret_key: SecretStr) -> None:
        self._vault = Vault(secret_key, "queries of URLs")

    def seal(self, url: str) -> str:
        """The URL to keep. A fragment is never sent, so it is dropped."""
        place, mark, query = url.partition("#")[0].partition("?")
        return f"{place}?sealed={self._vault.seal(query)}" if mark else place

    def open(self, url: str) -> str:
        """The URL to use, from the one that is kept. SecretKeyChanged."""
        place, _, query = url.partition("?")
        sealed = _SEALED.fullmatch(query)
        return f"{place}?{self._vault.open(sealed[1])}" if sealed else url


def public_url(url: str) -> str:
    """The URL to show: without query and fragment."""
    return url.partition("#")[0].partition("?")[0]


def is_safe_to_keep(url: str) -> bool:
    """Whether nobody can read a query in it."""
    _, mark, query = url.partition("?")
    return not mark or _SEALED.fullmatch(query) is not None
