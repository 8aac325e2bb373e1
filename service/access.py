"""
Who sends a request, and what they may do.

Every endpoint asks, but for those that are open to anybody: the probes, /metrics, the documentation and the catalogue
of errors, which say nothing about any tenant; and files, whose signed links carry their own permission.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from core.api_keys import KeyId, KeyLimits, KeyStore, Scope, authenticate
from core.errors import ForeignPage, InvalidApiKey, MissingApiKey, RateLimited, ScopeMissing
from core.jobs import LOCAL_TENANT
from service.services import Needed, Services

_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="hs_…",
    description="An API key, from `highsync keys create`. A service that has no keys serves its own machine without.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. `key_id` is None where there are no keys."""

    tenant: str
    key_id: KeyId | None
    scopes: frozenset[Scope]
    limits: KeyLimits

    def permits(self, scope: Scope) -> bool:
        """Whether the caller may do this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


_ANYBODY = Caller(LOCAL_TENANT, None, frozenset(Scope), KeyLimits())
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def _caller(
    request: Request,
    services: Needed,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Caller:
    """Asks the store of keys at every request, so that a revoked key is dead at once for all replicas."""
    if credentials is None:
        return _without_key(request, services)
    key = authenticate(services.keys, credentials.credentials)
    request.state.key_id = key.id
    if key.limits.requests_per_minute is not None:
        wait_s = services.keys.take_token(key.id, key.limits.requests_per_minute)
        if wait_s > 0:
            raise RateLimited(f"This key permits {key.limits.requests_per_minute} requests per minute.", wait_s)
    return Caller(key.tenant, key.id, key.scopes, key.limits)


def check_again(caller: Caller, services: Services) -> None:
    """For answers that last: InvalidApiKey once the caller's key has been revoked."""
    if caller.key_id is not None:
        key = services.keys.get(caller.key_id)
        if key is None or key.revoked_at is not None:
            raise InvalidApiKey("This API key has been revoked.")


class RevocationWatch:
    """Has those who wait looked at again when a key has been revoked, by whichever process."""

    def __init__(self, keys: KeyStore, look_again: Callable[[], None]) -> None:
        self._keys = keys
        self._look_again = look_again
        self._seen = 0

    def look(self) -> None:
        """One look, to be repeated. Raises QueueUnavailable."""
        revocations = self._keys.revocations()
        if revocations != self._seen:
            self._look_again()
            self._seen = revocations


def _without_key(request: Request, services: Needed) -> Caller:
    """
    Only a service that has never had keys takes requests without, and then only from its own machine, unless the
    operator insists: a store that was emptied by mistake must not open the door.
    """
    if services.keys.any():
        raise MissingApiKey("This service wants an API key.")
    if not (services.settings.allow_unauthenticated or _came_by_loopback(request)):
        raise MissingApiKey("This service has no API keys, and serves its own machine only.")
    _refuse_foreign_pages(request, services)
    return _ANYBODY


def _refuse_foreign_pages(request: Request, services: Services) -> None:
    """
    A browser on this machine comes by loopback, whatever page makes it ask. So the name that it asked for has to be
    one of ours (a page's own name may lead here: DNS rebinding), and so has the page's own, if the browser tells it.

    Where the operator insists on serving others, a proxy decides under which names; what is changed there has to come
    from a page of ours all the same. Programs other than browsers name no page.
    """
    public_host = urlsplit(services.settings.public_url).hostname
    serves_others = services.settings.allow_unauthenticated
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not (serves_others or _is_ours(f"//{host}", public_host)):
        raise ForeignPage("The Host of this request is not a name of this service.")
    if serves_others and request.method in _READING:
        return
    if request.headers.get("sec-fetch-site") == "cross-site":
        raise ForeignPage("A page of another site asks for this.")
    if origin is not None and not _is_ours(origin, public_host):
        raise ForeignPage("The Origin of this request is not a page of this service.")


def _is_ours(url: str, public_host: str | None) -> bool:
    """Whether the host in `scheme://host` is this machine, by a name that nobody can give away, or the public one."""
    try:
        host = urlsplit(url).hostname or ""
        return host in ("localhost", public_host) or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _came_by_loopback(request: Request) -> bool:
    """By the address of our end of the connection: the other end, and what headers say of it, proves nothing."""
    address, _ = request.scope.get("server") or ("", None)
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _permitted_to(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    async def permitted(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        if not caller.permits(scope):
            raise ScopeMissing(f"This key does not have the scope {scope}.", scope)
        return caller

    return permitted


Submitter = Annotated[Caller, Depends(_permitted_to(Scope.SUBMIT))]
"""
The parameter type of endpoints that make, end or remove something of the caller's. It comes first: somebody unknown is
told nothing else.
"""

Reader = Annotated[Caller, Depends(_permitted_to(Scope.READ))]
"""Likewise, of endpoints that show something."""

Admin = Annotated[Caller, Depends(_permitted_to(Scope.ADMIN))]
"""Likewise, of endpoints that change what all of the tenant's jobs have in common."""
