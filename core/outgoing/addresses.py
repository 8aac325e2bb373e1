"""Which addresses belong to the public internet, and which hosts outgoing requests may reach.

`ipaddress.is_global` alone is not enough: it holds for cloud metadata services (192.0.0.192, 168.63.129.16), multicast,
and for IPv6 addresses that carry a private IPv4 address inside (6to4, NAT64, IPv4-compatible).
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Self
from urllib.parse import urlsplit

from core.errors import AddressBlocked
from core.settings import ENV_PREFIX, Settings, SettingsError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Resolver = Callable[[str, int], list[IPAddress]]

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is really reached

# IANA special-purpose registries, plus what clouds keep at public-looking addresses.
_RESERVED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocols; Oracle metadata
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_RESERVED_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols, Teredo, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)

_THIS_MACHINE = IPv4Address("127.0.0.1")
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})

_WEB_PORTS = frozenset({80, 443})
_FIRST_USER_PORT = 1024
# Services that understand enough of a stray HTTP request to be harmed by it.
_SERVICE_PORTS = frozenset(
    {1433, 1521, 2049, 2375, 2376, 2379, 3128, 3306, 3389, 5432, 5672, 5900, 6000, 6379, 6380}
    | {8125, 9042, 9092, 9200, 9300, 11211, 15672, 16379, 26379, 27017}
)


def is_public(address: IPAddress) -> bool:
    """Whether the address is anybody's on the internet: not private, reserved, multicast or a cloud's own."""
    address = embedded_ipv4(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _RESERVED_IPV4)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _RESERVED_IPV6)


def embedded_ipv4(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv4-mapped or NAT64 address stands for; any other address as it is."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _place(address: IPAddress) -> IPAddress:
    """One address for all that lead to the same place: IPv4 inside IPv6, any loopback, with a zone or without."""
    real = embedded_ipv4(address)
    if real.is_loopback or real.is_unspecified:
        return _THIS_MACHINE
    return IPv6Address(int(real)) if isinstance(real, IPv6Address) else real


def literal_address(host: str) -> IPAddress | None:
    """The address a host name spells out, `localhost` included; None for a name that needs the resolver."""
    if host == "localhost" or host.endswith(".localhost"):
        return _THIS_MACHINE
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def resolve(host: str, port: int) -> list[IPAddress]:
    """Every address of a host, by the system's resolver. OSError (socket.gaierror) if there is none."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(answer[4][0]) for answer in answers))


class NeighbourUnknown(OSError):
    """The resolver fails for a host of our own stack, so that nobody can say which addresses are closed."""


@dataclass(frozen=True, slots=True)
class AllowedTarget:
    """A private network the operator opens for inputs and webhooks, on one port."""

    network: IPNetwork
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`192.168.7.0/24:8080` or `[fd00:7::]/64:80`. ValueError if it is neither."""
        network, separator, port = text.strip().rpartition(":")
        if not separator or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ValueError(f"{text!r} is not CIDR:port")
        return cls(ipaddress.ip_network(network.replace("[", "").replace("]", "")), int(port))


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A host of our own stack, never a target. Without a port, none of its ports is. `if_private`: only while it is."""

    host: str
    port: int | None = None
    if_private: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """`redis`, `redis:6379` or `[fd00::5]:6379`. ValueError if it is none of these."""
        parts = urlsplit(f"//{text.strip()}")
        if not parts.hostname or parts.path:
            raise ValueError(f"{text!r} is not host or host:port")
        return cls(parts.hostname.removesuffix("."), parts.port)

    @classmethod
    def from_url(cls, url: str, *, if_private: bool = False) -> Self:
        """The host and port of one of our own settings, such as redis_url."""
        parts = urlsplit(url)
        return cls(parts.hostname or "localhost", parts.port, if_private)

    def has_name(self, host: str, port: int) -> bool:
        """Whether it is told by its name alone. A name with a dot may lead to a public address."""
        return self.host == host and self.port in (None, port) and not (self.if_private and "." in host)

    @property
    def may_be_public(self) -> bool:
        """Whether it is to be looked for among public addresses. Names without a dot are only known nearby."""
        return not self.if_private and ("." in self.host or ":" in self.host)


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Which addresses outgoing requests may reach: public ones, and what the operator allows, less our neighbours."""

    allow: tuple[AllowedTarget, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    resolver: Resolver = resolve

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The operator's policy. SettingsError names an entry that cannot be read."""
        own = [Neighbour.from_url(settings.redis_url)]
        if settings.s3_endpoint:  # a public one may hold inputs, too
            own.append(Neighbour.from_url(settings.s3_endpoint, if_private=True))
        try:
            denied = [Neighbour.parse(entry) for entry in _entries(settings.fetch_deny)]
            allowed = [AllowedTarget.parse(entry) for entry in _entries(settings.fetch_allow)]
        except ValueError as error:
            raise SettingsError(f"{ENV_PREFIX}FETCH_ALLOW or {ENV_PREFIX}FETCH_DENY: {error}") from error
        return cls(tuple(allowed), (*denied, *own))

    def addresses(self, host: str, port: int) -> list[IPAddress]:
        """
        Every address of the host, all of them checked: one bad answer spoils the rest.

        Raises AddressBlocked; OSError when the host has no address; NeighbourUnknown (an OSError).
        """
        self._check_name(host, port)
        literal = literal_address(host)
        found = [literal] if literal is not None else self.resolver(host, port)
        for address in found:
            self._check_range(address, host, port)
        closed = self._closed_addresses(port, only_public=all(map(is_public, found)))
        if not closed.isdisjoint(map(_place, found)):
            raise AddressBlocked(f"{host} is part of this service.")
        return found

    def check_unresolved(self, host: str, port: int) -> None:
        """Refuse what can be refused without asking a resolver, for early answers. AddressBlocked."""
        self._check_name(host, port)
        literal = literal_address(host)
        if literal is not None:
            self._check_range(literal, host, port)
        elif not _is_public_port(port) and all(target.port != port for target in self.allow):
            raise AddressBlocked(f"Port {port} is not open to outgoing requests.")

    def _check_name(self, host: str, port: int) -> None:
        if any(neighbour.has_name(host, port) for neighbour in self.neighbours):
            raise AddressBlocked(f"{host} is part of this service.")

    def _check_range(self, address: IPAddress, host: str, port: int) -> None:
        if is_public(address):
            if not _is_public_port(port):
                raise AddressBlocked(f"Port {port} is not open to outgoing requests.")
        elif not self._is_allowed(address, port):
            raise AddressBlocked(f"{host} leads to a private or reserved address.")

    def _is_allowed(self, address: IPAddress, port: int) -> bool:
        real = embedded_ipv4(address)
        return any(port == target.port and real in target.network for target in self.allow)

    def _closed_addresses(self, port: int, *, only_public: bool) -> set[IPAddress]:
        """Where the neighbours on this port are: one question to the resolver for each. NeighbourUnknown."""
        neighbours = [neighbour for neighbour in self.neighbours if neighbour.port in (None, port)]
        if only_public:
            neighbours = [neighbour for neighbour in neighbours if neighbour.may_be_public]
        return {_place(address) for neighbour in neighbours for address in self._addresses_of(neighbour, port)}

    def _addresses_of(self, neighbour: Neighbour, port: int) -> list[IPAddress]:
        literal = literal_address(neighbour.host)
        if literal is not None:
            return [literal]
        try:
            return self.resolver(neighbour.host, port)
        except OSError as error:
            if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME:
                return []  # not part of this installation
            raise NeighbourUnknown(
                f"the name service does not tell where the service's own hosts are ({ENV_PREFIX}FETCH_DENY)"
            ) from error


def _is_public_port(port: int) -> bool:
    return port in _WEB_PORTS or (port >= _FIRST_USER_PORT and port not in _SERVICE_PORTS)


def _entries(setting: str) -> Iterable[str]:
    return (entry for entry in setting.split(",") if entry.strip())
