"""Attack cases 1-16 and 44-46: where outgoing requests may go, and what a hostile server can do to them."""

import hashlib
import ipaddress
import itertools
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from core.errors import (
    AddressBlocked,
    DownloadFailed,
    DownloadNotFound,
    InputTooLarge,
    InsufficientScratch,
    UnsupportedUrl,
)
from core.outgoing import FetchLimits, FetchPolicy, PostFailed, check_url, download, post_json
from core.outgoing.addresses import AllowedTarget, IPAddress, Neighbour, NeighbourUnknown, is_public
from core.outgoing.connection import tls_context
from core.settings import Settings, SettingsError
from tests.sites import Page, Site, Visit

MOVIE = bytes(range(256)) * 4096  # 1 MiB
LIMITS = FetchLimits(max_bytes=4 * 1024**2, timeout_s=20, retry_pause_s=0.01)


class Names:
    """A resolver whose answers are given: each name has a list of answers, used one per question, the last for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.questions: list[str] = []

    def __call__(self, host: str, port: int) -> list[IPAddress]:
        self.questions.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, f"{host}: unknown")
        answers = self.answers[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ipaddress.ip_address(address) for address in answer]


def stops_in_the_middle(visit: Visit) -> None:
    """Begins a file and then keeps silent."""
    visit.start({"Content-Length": "1000"})
    visit.wfile.write(b"x" * 100)
    time.sleep(20)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(200, MOVIE, Content_Type="video/mp4")
        yield site


def open_to(*sites: Site, **names: list[list[str]]) -> FetchPolicy:
    """A policy that allows these test sites and knows these names."""
    return FetchPolicy(
        tuple(AllowedTarget.parse(f"127.0.0.1/32:{site.port}") for site in sites), resolver=Names(**names)
    )


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            *("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
            *("100.64.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.192", "168.63.129.16"),
            *("224.0.0.1", "239.255.255.255", "255.255.255.255", "198.18.0.1", "203.0.113.9"),
            *("::1", "::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fd00:ec2::254", "fe80::1"),
            *("fe80::1%eth0", "ff02::1", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::"),
            *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "100::1", "fec0::1", "5f00::1"),
        ],
    )
    def test_private_reserved_and_disguised_addresses_are_not_public(self, address: str) -> None:
        assert not is_public(ipaddress.ip_address(address))

    @pytest.mark.parametrize(
        "address", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
    )
    def test_ordinary_addresses_are_public(self, address: str) -> None:
        assert is_public(ipaddress.ip_address(address))

    @given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
    def test_never_more_generous_than_the_standard_library(self, address: IPAddress) -> None:
        assert not is_public(address) or address.is_global

    def test_an_allowed_network_needs_the_right_port(self) -> None:
        policy = FetchPolicy((AllowedTarget.parse("192.168.7.0/24:8080"), AllowedTarget.parse("[fd00:7::]/64:80")))

        assert policy.addresses("192.168.7.9", 8080)
        assert policy.addresses("fd00:7::9", 80)
        for host, port in [("192.168.7.9", 80), ("192.168.8.9", 8080), ("fd00:7::9", 8080), ("fd00:8::9", 80)]:
            with pytest.raises(AddressBlocked):
                policy.addresses(host, port)

    @pytest.mark.parametrize("port", [22, 25, 6379, 5432, 2375])
    def test_public_hosts_are_reached_on_web_ports_only(self, port: int) -> None:
        policy = FetchPolicy(resolver=Names(studio_example=[["8.8.8.8"]]))

        assert policy.addresses("studio.example", 8443)
        with pytest.raises(AddressBlocked):
            policy.addresses("studio.example", port)

    @pytest.mark.parametrize("name", ["metadata.google.internal", "xn--lcalhost-64g"])
    def test_a_name_is_judged_by_where_it_leads(self, name: str) -> None:
        policy = FetchPolicy(resolver=lambda host, port: [ipaddress.ip_address("169.254.169.254")])

        check_url(f"http://{name}/", policy)
        with pytest.raises(AddressBlocked):
            policy.addresses(name, 80)

    def test_one_private_answer_spoils_all(self) -> None:
        policy = FetchPolicy(
            resolver=Names(mixed_example=[["8.8.8.8", "10.0.0.1"]], dual_example=[["8.8.8.8", "fd00::1"]])
        )

        for host in ("mixed.example", "dual.example"):
            with pytest.raises(AddressBlocked):
                policy.addresses(host, 80)

    @pytest.mark.parametrize(("host", "port"), [("redis", 6379), ("s3", 7070), ("api", 8000), ("172.20.0.5", 8000)])
    def test_neighbours_stay_closed_even_inside_an_allowed_network(self, host: str, port: int) -> None:
        names = Names(redis=[["172.20.0.2"]], s3=[["172.20.0.3"]], api=[["172.20.0.5"]])
        policy = FetchPolicy(
            tuple(AllowedTarget.parse(f"172.16.0.0/12:{port}") for port in (6379, 7070, 8000)),
            (Neighbour.parse("redis:6379"), Neighbour.parse("s3"), Neighbour.parse("api")),
            names,
        )

        with pytest.raises(AddressBlocked):
            policy.addresses(host, port)
        assert policy.addresses("172.20.0.9", 8000)

    @pytest.mark.parametrize(
        "failure",
        [
            *(socket.gaierror(code, "no answer") for code in (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM)),
            OSError(24, "Too many open files"),
        ],
    )
    def test_a_resolver_that_fails_opens_nothing(self, tmp_path: Path, failure: OSError) -> None:
        def failing(host: str, port: int) -> list[IPAddress]:
            raise failure

        policy = FetchPolicy((AllowedTarget.parse("172.16.0.0/12:6379"),), (Neighbour.parse("redis:6379"),), failing)
        limits = replace(LIMITS, attempts=1)

        with pytest.raises(NeighbourUnknown):
            policy.addresses("172.20.0.2", 6379)
        check_url("http://172.20.0.2:6379/", policy)  # nothing is looked up when a job is posted
        with pytest.raises(DownloadFailed, match="FETCH_DENY") as caught:
            download("http://172.20.0.2:6379/", tmp_path / "in", limits, policy)
        assert caught.value.spec.retryable
        with pytest.raises(PostFailed, match="FETCH_DENY"):
            post_json("http://172.20.0.2:6379/", b"{}", {}, policy)

    @pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA])
    def test_a_service_that_is_not_installed_closes_nothing(self, code: int) -> None:
        def unknown(host: str, port: int) -> list[IPAddress]:
            raise socket.gaierror(code, "unknown")

        policy = FetchPolicy((AllowedTarget.parse("172.16.0.0/12:80"),), (Neighbour.parse("grafana"),), unknown)

        assert policy.addresses("172.20.0.2", 80)

    @pytest.mark.parametrize("host", ["api", "api.example"])
    def test_a_redirect_to_a_closed_name_is_refused_even_at_a_public_address(self, host: str) -> None:
        names = Names(api=[["9.9.9.9"]], api_example=[["10.0.0.1"]])
        policy = FetchPolicy(neighbours=(Neighbour.parse("api"), Neighbour.parse("api.example.")), resolver=names)

        with pytest.raises(AddressBlocked):
            policy.addresses(host, 8000)
        assert names.questions == []

    @pytest.mark.parametrize(
        ("closed", "other_spelling"),
        [
            *(("localhost:6379", host) for host in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::")),
            ("[::1]:6379", "127.0.0.1"),
            ("[::ffff:10.0.0.5]:6379", "10.0.0.5"),
            ("10.0.0.5:6379", "::ffff:10.0.0.5"),
            ("linked:6379", "fe80::5"),
        ],
    )
    def test_a_closed_host_is_closed_under_every_address_of_its_own(self, closed: str, other_spelling: str) -> None:
        everything = tuple(map(AllowedTarget.parse, ("0.0.0.0/0:6379", "[::]/0:6379")))
        names = Names(linked=[["fe80::5%eth0"]])
        policy = FetchPolicy(everything, (Neighbour.parse(closed),), names)

        assert policy.addresses("10.0.0.6", 6379)
        with pytest.raises(AddressBlocked):
            policy.addresses(other_spelling, 6379)

    def test_a_host_of_many_addresses_costs_one_question_per_neighbour(self) -> None:
        names = Names(many_example=[[f"9.9.{high}.{low}" for high in range(9) for low in range(99)]])
        policy = FetchPolicy(neighbours=(Neighbour.parse("redis.example"),), resolver=names)

        assert len(policy.addresses("many.example", 443)) == 9 * 99
        assert names.questions == ["many.example", "redis.example"]

    @pytest.mark.parametrize("host", ["redis.example", "v6.example", "9.9.9.9", "2606:4700::9", "64:ff9b::909:909"])
    def test_a_closed_host_is_closed_at_a_public_address_too(self, host: str) -> None:
        names = Names(redis_example=[["9.9.9.9"]], v6_example=[["2606:4700::9"]], other_example=[["9.9.9.10"]])
        closed = tuple(map(Neighbour.parse, ("redis.example:8443", "[2606:4700::9]:8443", "api")))
        policy = FetchPolicy(neighbours=closed, resolver=names)

        with pytest.raises(AddressBlocked):
            policy.addresses(host, 8443)
        assert policy.addresses("other.example", 8443)
        assert "api" not in names.questions  # a name of the stack's own network leads nowhere public

    def test_a_bucket_that_everybody_can_reach_may_hold_inputs(self) -> None:
        settings = Settings(secret_key="x" * 32, s3_endpoint="https://s3.example")
        policy = replace(FetchPolicy.from_settings(settings), resolver=Names(s3_example=[["8.8.8.8"]]))

        check_url("https://s3.example/bucket/a.mp4", policy)
        assert policy.addresses("s3.example", 443)

    @pytest.mark.parametrize("entry", ["redis:port", ":6379", "http://redis", "redis:99999"])
    def test_an_unreadable_list_of_closed_hosts_is_refused(self, entry: str) -> None:
        with pytest.raises(SettingsError, match="FETCH_DENY"):
            FetchPolicy.from_settings(Settings(secret_key="x" * 32, fetch_deny=f"api, {entry}"))

    @pytest.mark.parametrize("entry", ["192.168.7.0/24", "192.168.7.0/24:0", "nas:80", "10.0.0.1/8:80", ":80"])
    def test_an_unreadable_allow_list_is_refused(self, entry: str) -> None:
        with pytest.raises(SettingsError, match="FETCH_ALLOW"):
            FetchPolicy.from_settings(Settings(secret_key="x" * 32, fetch_allow=f"10.0.0.0/8:80, {entry}"))

    def test_our_own_redis_and_bucket_are_neighbours(self) -> None:
        settings = Settings(
            secret_key="x" * 32,
            redis_url="redis://:secret@10.0.0.5:6390/0",
            s3_endpoint="http://10.0.0.6:7070",
            fetch_allow="10.0.0.0/8:6390,10.0.0.0/8:7070",
            fetch_deny="",
        )
        policy = FetchPolicy.from_settings(settings)

        assert policy.addresses("10.0.0.5", 7070)
        for host, port in [("10.0.0.5", 6390), ("10.0.0.6", 7070)]:
            with pytest.raises(AddressBlocked):
                policy.addresses(host, port)


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            *("http://127.0.0.1/", "http://localhost/", "http://LOCALHOST./", "http://a.localhost/", "http://[::1]/"),
            *("http://0.0.0.0/", "http://127.0.0.1./", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/meta"),
            *("https://[fd00:ec2::254]/", "http://[fe80::1]/", "http://8.8.8.8:22/", "http://studio.example:6379/"),
        ],
    )
    def test_private_targets_are_blocked_before_any_network(self, url: str) -> None:
        with pytest.raises(AddressBlocked):
            check_url(url, FetchPolicy(resolver=Names()))

    @pytest.mark.parametrize(
        "url",
        [
            *("http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://0x7f000001/"),
            *(
                "http://①②⑦.0.0.1/",
                "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
                "http://127%2e0.0.1/",
                "http://[fe80::1%25eth0]/",
                "http://[::1",
            ),
            *("http://ok.example@evil.example/", "http://user:secret@ok.example/", "http://ok.example\\@127.0.0.1/"),
            *("http://ok.example/a\r\nHost: evil", "http://ok.example\r\n/", "http://ok.example/a b", "http://ok\x00/"),
            *("http://ok.example:0/", "http://ok.example:99999/", "http://ok.example:x/", "http://", "http:///x", ""),
            *("file:///etc/passwd", "gopher://ok.example/", "ftp://ok.example/", "//ok.example/", "ok.example/a"),
            *("http://ok.example/" + "a" * 8192, "http://\ud800.example/", "http://a..example/", "http://a%00b/"),
            *("http://ok.example\uff0fevil.example/", "data:text/plain,x", "HTTPS:ok.example"),
            *("s3://other-bucket/key", "upload://../jobs/x", "subfile:,,start,0,end,9,,:/etc/passwd"),
        ],
    )
    def test_ambiguous_urls_are_refused(self, url: str) -> None:
        with pytest.raises((UnsupportedUrl, AddressBlocked)) as caught:
            check_url(url, FetchPolicy(resolver=Names()))

        assert "secret" not in caught.value.message

    @pytest.mark.parametrize(
        "url",
        [
            *("http://ok.example", "https://ok.example/a.mp4?X-Sig=a%2Fb&c=%20", "https://ok.example:8443/#@evil"),
            *("http://xn--r8jz45g.jp/", "http://例え.jp/é.mp4", "http://under_score.example/", "http://8.8.8.8/x"),
        ],
    )
    def test_ordinary_urls_pass(self, url: str) -> None:
        check_url(url, FetchPolicy(resolver=Names()))

    def test_names_of_our_own_stack_are_blocked_early(self) -> None:
        with pytest.raises(AddressBlocked):
            check_url("http://prometheus:9090/", FetchPolicy(neighbours=(Neighbour("prometheus"),)))

    @given(st.text(max_size=60))
    def test_no_text_makes_the_parser_crash(self, text: str) -> None:
        for url in (text, f"http://{text}", f"http://ok.example/{text}"):
            with suppress(UnsupportedUrl, AddressBlocked):
                check_url(url, FetchPolicy())


class TestWhereADownloadGoes:
    def test_a_file_arrives_whole(self, site: Site, tmp_path: Path) -> None:
        seen: list[tuple[int, int | None]] = []

        got = download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site), lambda *now: seen.append(now))

        assert (tmp_path / "in").read_bytes() == MOVIE
        assert (got.bytes, got.sha256) == (len(MOVIE), hashlib.sha256(MOVIE).hexdigest())
        assert got.content_type == "video/mp4"
        assert seen[-1] == (len(MOVIE), len(MOVIE))

    def test_the_connection_goes_to_the_checked_address_with_the_name_kept(self, site: Site, tmp_path: Path) -> None:
        policy = open_to(site, studio_example=[["127.0.0.1"], ["10.0.0.1"]])

        download(site.url("/movie.mp4", "studio.example"), tmp_path / "in", LIMITS, policy)

        assert site.visits[0][2]["Host"] == f"studio.example:{site.port}"
        assert policy.resolver.questions == ["studio.example"]  # type: ignore[attr-defined]

    def test_a_name_that_moves_to_a_private_address_is_caught(self, site: Site, tmp_path: Path) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(503)
        policy = open_to(site, studio_example=[["127.0.0.1"], ["10.0.0.1"]])

        with pytest.raises(AddressBlocked):
            download(site.url("/movie.mp4", "studio.example"), tmp_path / "in", LIMITS, policy)

        assert len(site.visits) == 1

    def test_proxies_from_the_environment_are_ignored(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")

        assert download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site)).bytes == len(MOVIE)

    def test_without_permission_loopback_is_closed(self, site: Site, tmp_path: Path) -> None:
        with pytest.raises(AddressBlocked):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, FetchPolicy())

        assert site.visits == []
        assert not (tmp_path / "in").exists()

    def test_an_unknown_host_is_a_failed_download(self, tmp_path: Path) -> None:
        with pytest.raises(DownloadFailed):
            download("http://nowhere.example/x", tmp_path / "in", LIMITS, FetchPolicy(resolver=Names()))


class TestRedirects:
    def redirect(self, site: Site, location: str, status: int = 302) -> None:
        site.pages["/start"] = lambda visit: visit.reply(status, Location=location)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_followed(self, site: Site, tmp_path: Path, status: int) -> None:
        self.redirect(site, "movie.mp4", status)

        assert download(site.url("/start"), tmp_path / "in", LIMITS, open_to(site)).bytes == len(MOVIE)

    @pytest.mark.parametrize(
        ("location", "error"),
        [
            ("http://10.0.0.1/secret", AddressBlocked),
            ("http://169.254.169.254/latest/meta-data", AddressBlocked),
            ("http://inside.example/", AddressBlocked),
            ("http://127.0.0.1:1/", AddressBlocked),
            ("file:///etc/passwd", UnsupportedUrl),
            ("gopher://127.0.0.1:6379/_FLUSHALL", UnsupportedUrl),
            ("ftp://ok.example/", UnsupportedUrl),
            ("http://user:secret@ok.example/", UnsupportedUrl),
            ("http://[", UnsupportedUrl),
        ],
    )
    def test_every_hop_is_checked(self, site: Site, tmp_path: Path, location: str, error: type[Exception]) -> None:
        self.redirect(site, location)

        with pytest.raises(error):
            download(site.url("/start"), tmp_path / "in", LIMITS, open_to(site, inside_example=[["192.168.0.1"]]))

    def test_a_loop_ends(self, site: Site, tmp_path: Path) -> None:
        self.redirect(site, "/start")

        with pytest.raises(DownloadFailed, match="redirects"):
            download(site.url("/start"), tmp_path / "in", LIMITS, open_to(site))

        assert len(site.visits) == 6

    def test_a_long_chain_ends(self, site: Site, tmp_path: Path) -> None:
        for hop in range(20):
            site.pages[f"/{hop}"] = lambda visit, hop=hop: visit.reply(302, Location=f"/{hop + 1}")  # type: ignore[misc]

        with pytest.raises(DownloadFailed, match="redirects"):
            download(site.url("/0"), tmp_path / "in", LIMITS, open_to(site))

        assert len(site.visits) == 6

    def test_nothing_of_the_first_site_is_told_to_the_second(self, site: Site, tmp_path: Path) -> None:
        with Site() as other:
            other.pages["/movie.mp4"] = lambda visit: visit.reply(200, MOVIE)
            site.pages["/start"] = lambda visit: visit.reply(
                302, Location=other.url("/movie.mp4"), Set_Cookie="session=1"
            )
            download(site.url("/start?token=secret"), tmp_path / "in", LIMITS, open_to(site, other))

        assert set(other.visits[0][2]) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with the key and the self-signed certificate of studio.example."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "studio.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("studio.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "studio.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


class TestTls:
    @pytest.fixture
    def secure_site(self, site: Site, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
        site.scheme = "https"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        tls_context.cache_clear()
        yield site
        tls_context.cache_clear()

    def test_the_certificate_is_checked_against_the_name_not_the_address(
        self, secure_site: Site, tmp_path: Path
    ) -> None:
        policy = open_to(secure_site, studio_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])

        download(secure_site.url("/movie.mp4", "studio.example"), tmp_path / "in", LIMITS, policy)
        with pytest.raises(DownloadFailed):
            download(secure_site.url("/movie.mp4", "other.example"), tmp_path / "in", LIMITS, policy)

    def test_there_is_no_way_down_from_https_to_http(self, secure_site: Site, tmp_path: Path) -> None:
        secure_site.pages["/start"] = lambda visit: visit.reply(
            307, Location=f"http://studio.example:{secure_site.port}/movie.mp4"
        )
        policy = open_to(secure_site, studio_example=[["127.0.0.1"]])

        with pytest.raises(UnsupportedUrl, match="https to http"):
            download(secure_site.url("/start", "studio.example"), tmp_path / "in", LIMITS, policy)


class TestHostileServers:
    @pytest.mark.parametrize(
        ("status", "error"),
        [(404, DownloadNotFound), (403, DownloadNotFound), (500, DownloadFailed), (204, DownloadFailed)],
    )
    def test_an_error_status_is_told_apart(
        self, site: Site, tmp_path: Path, status: int, error: type[Exception]
    ) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(status)

        with pytest.raises(error):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

        assert not (tmp_path / "in").exists()

    def test_a_hiccup_is_retried(self, site: Site, tmp_path: Path) -> None:
        answers = itertools.chain([503, 429], itertools.repeat(200))
        site.pages["/movie.mp4"] = lambda visit: visit.reply(next(answers), MOVIE)

        assert download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site)).bytes == len(MOVIE)

    def test_a_declared_size_over_the_limit_is_refused_unread(self, site: Site, tmp_path: Path) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.start({"Content-Length": str(10**15)})

        with pytest.raises(InputTooLarge):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

    def test_an_endless_body_is_cut_off(self, site: Site, tmp_path: Path) -> None:
        def endless(visit: Visit) -> None:
            visit.start({"Transfer-Encoding": "chunked"})
            while True:
                visit.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

        site.pages["/movie.mp4"] = endless

        with pytest.raises(InputTooLarge):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

        assert not (tmp_path / "in").exists()

    def test_a_body_shorter_than_declared_is_not_taken_for_the_file(self, site: Site, tmp_path: Path) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(200, MOVIE[:1000], Content_Length="2000")

        with pytest.raises(DownloadFailed):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

    def test_a_body_of_undeclared_length_ends_with_its_connection(self, site: Site, tmp_path: Path) -> None:
        def undeclared(visit: Visit) -> None:
            visit.start({"Connection": "close"})
            visit.wfile.write(MOVIE)

        site.pages["/movie.mp4"] = undeclared

        assert download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site)).bytes == len(MOVIE)

    @pytest.mark.parametrize("declared", ["-1", "1e3", "9" * 30, "10\r\nContent-Length: 20"])
    def test_a_senseless_length_is_a_failure(self, site: Site, tmp_path: Path, declared: str) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(200, MOVIE, Content_Length=declared)

        with pytest.raises((DownloadFailed, InputTooLarge)):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

    def test_a_body_longer_than_declared_ends_where_declared(self, site: Site, tmp_path: Path) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(200, MOVIE, Content_Length="1000")

        download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

        assert (tmp_path / "in").read_bytes() == MOVIE[:1000]

    def test_a_compressed_body_is_refused(self, site: Site, tmp_path: Path) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(200, b"\x1f\x8b", Content_Encoding="gzip")

        with pytest.raises(DownloadFailed, match="compressed"):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

        assert site.visits[0][2]["Accept-Encoding"] == "identity"

    @pytest.mark.parametrize("trickled", ["headers", "body"])
    def test_a_server_that_trickles_is_given_up(self, site: Site, tmp_path: Path, trickled: str) -> None:
        def trickle(visit: Visit) -> None:
            if trickled == "body":
                visit.start({"Content-Length": "1000"})
            else:
                visit.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                visit.wfile.write(b"x")
                time.sleep(0.02)

        site.pages["/movie.mp4"] = trickle
        limits = FetchLimits(max_bytes=2000, min_bytes_per_s=1000, pace_window_s=0.1, attempts=2, retry_pause_s=0)
        started = time.monotonic()

        with pytest.raises(DownloadFailed):
            download(site.url("/movie.mp4"), tmp_path / "in", limits, open_to(site))

        assert time.monotonic() - started < 5

    def test_answers_before_the_answer_have_an_end(self, site: Site, tmp_path: Path) -> None:
        def hesitate(visit: Visit) -> None:
            while True:
                visit.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000)

        site.pages["/movie.mp4"] = hesitate

        with pytest.raises(DownloadFailed, match="headers have no end"):
            download(site.url("/movie.mp4"), tmp_path / "in", replace(LIMITS, attempts=1), open_to(site))

    def test_a_large_body_is_no_endless_header(self, site: Site, tmp_path: Path) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(200, MOVIE * 3)

        assert download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site)).bytes == 3 * len(MOVIE)

    @pytest.mark.parametrize(
        "answer",
        [
            *(b"-ERR unknown secret 'GET'\r\n" * 2, b"secret" * 10_000, b"", b"HTTP/1.1 200 OK\r\nsecret\r\n\r\n"),
            *(b"HTTP/1.1 099 No\r\n\r\n", b"HTTP/1.1 101 Switch\r\n\r\nsecret", b"HTTP/1.1 302 No\r\n\r\n"),
            *(b"HTTP/1.1 302 No\r\nLocation: \xff\r\n\r\n", b"HTTP/1.1 302 No\r\nLocation: http://[\r\n\r\n"),
            *(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",),
            *(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",),
            *(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",),
            *(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",),
            *(b'HTTP/1.1 200 OK\r\nETag: "\xe9"\r\nContent-Length: 9\r\n\r\nhalf',),
        ],
    )
    def test_an_answer_that_is_no_http_is_a_failure_and_not_quoted(
        self, site: Site, tmp_path: Path, answer: bytes
    ) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.wfile.write(answer) and None

        with pytest.raises((DownloadFailed, UnsupportedUrl)) as caught:
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

        assert "secret" not in caught.value.message
        assert len(caught.value.message) < 200

    def test_the_whole_download_has_a_time_limit(self, site: Site, tmp_path: Path) -> None:
        site.pages["/movie.mp4"] = lambda visit: time.sleep(2)
        limits = FetchLimits(max_bytes=2000, timeout_s=0.2)
        started = time.monotonic()

        with pytest.raises(DownloadFailed):
            download(site.url("/movie.mp4"), tmp_path / "in", limits, open_to(site))

        assert time.monotonic() - started < 1.5

    def test_a_full_disk_has_its_own_error(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "in").symlink_to("/dev/full")

        with pytest.raises(InsufficientScratch):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))

        assert not (tmp_path / "in").is_symlink()

    def test_the_caller_can_stop_it(self, site: Site, tmp_path: Path) -> None:
        def stop(received: int, total: int | None) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site), stop)

        assert not (tmp_path / "in").exists()

    @pytest.mark.parametrize(
        "page",
        [lambda visit: time.sleep(20), lambda visit: visit.reply(503), stops_in_the_middle],
        ids=["silent", "failing", "stalling"],
    )
    def test_the_caller_can_stop_it_while_nothing_comes(self, site: Site, tmp_path: Path, page: Page) -> None:
        site.pages["/movie.mp4"] = page
        asked_at = time.monotonic()

        def stop(received: int, total: int | None) -> None:
            if time.monotonic() - asked_at > 0.5:
                raise KeyboardInterrupt

        limits = FetchLimits(max_bytes=1000, retry_pause_s=20)
        with pytest.raises(KeyboardInterrupt):
            download(site.url("/movie.mp4"), tmp_path / "in.mp4", limits, open_to(site), stop)
        assert time.monotonic() - asked_at < 3
        assert not (tmp_path / "in.mp4").exists()


class TestResume:
    """A site that breaks the first transfer in the middle."""

    HALF = len(MOVIE) // 2

    def breaks_once(self, site: Site, second: object, etag: str = '"v1"') -> None:
        visits = itertools.count()

        def page(visit: Visit) -> None:
            if next(visits) == 0:
                visit.reply(200, MOVIE[: self.HALF], ETag=etag, Content_Length=str(len(MOVIE)))
            else:
                second(visit)  # type: ignore[operator]

        site.pages["/movie.mp4"] = page

    def fetch(self, site: Site, folder: Path) -> bytes:
        got = download(site.url("/movie.mp4"), folder / "in", LIMITS, open_to(site))
        assert got.sha256 == hashlib.sha256((folder / "in").read_bytes()).hexdigest()
        return (folder / "in").read_bytes()

    @staticmethod
    def rest(visit: Visit, etag: str = '"v1"') -> None:
        first = int(visit.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {first}-{len(MOVIE) - 1}/{len(MOVIE)}"
        visit.reply(206, MOVIE[first:], ETag=etag, Content_Range=span)

    def test_it_continues_where_it_stopped(self, site: Site, tmp_path: Path) -> None:
        self.breaks_once(site, self.rest)

        assert self.fetch(site, tmp_path) == MOVIE
        assert site.visits[1][2]["Range"] == f"bytes={self.HALF}-"
        assert site.visits[1][2]["If-Range"] == '"v1"'

    def test_a_server_without_ranges_sends_it_all_again(self, site: Site, tmp_path: Path) -> None:
        self.breaks_once(site, lambda visit: visit.reply(200, MOVIE))

        assert self.fetch(site, tmp_path) == MOVIE

    def test_without_a_strong_version_mark_nothing_is_glued_together(self, site: Site, tmp_path: Path) -> None:
        self.breaks_once(site, lambda visit: visit.reply(200, MOVIE), etag='W/"v1"')

        assert self.fetch(site, tmp_path) == MOVIE
        assert "Range" not in site.visits[1][2]

    def test_a_file_that_changed_on_the_way_is_fetched_anew(self, site: Site, tmp_path: Path) -> None:
        changed = b"new" * 1000

        def second_version(visit: Visit) -> None:
            if "Range" in visit.headers:
                self.rest(visit, etag='"v2"')
            else:
                visit.reply(200, changed, ETag='"v2"')

        self.breaks_once(site, second_version)

        assert self.fetch(site, tmp_path) == changed

    @pytest.mark.parametrize("span", ["bytes 0-9/10", "bytes */5", "nonsense"])
    def test_a_wrong_range_is_not_believed(self, site: Site, tmp_path: Path, span: str) -> None:
        def wrong(visit: Visit) -> None:
            if "Range" in visit.headers:
                visit.reply(206, b"0123456789", ETag='"v1"', Content_Range=span)
            else:
                visit.reply(200, MOVIE)

        self.breaks_once(site, wrong)

        assert self.fetch(site, tmp_path) == MOVIE

    def chunked_at_first(self, site: Site, second: Page) -> None:
        """The first transfer does not tell its length, and breaks in the middle."""
        visits = itertools.count()

        def page(visit: Visit) -> None:
            if next(visits) == 0:
                visit.start({"Transfer-Encoding": "chunked", "ETag": '"v1"'})
                visit.wfile.write(b"%x\r\n" % self.HALF + MOVIE[: self.HALF] + b"\r\n")
            else:
                second(visit)

        site.pages["/movie.mp4"] = page

    def test_a_rest_that_is_cut_short_is_not_the_end(self, site: Site, tmp_path: Path) -> None:
        cuts = itertools.chain([5], itertools.repeat(None))

        def some(visit: Visit) -> None:
            first = int(visit.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            span = f"bytes {first}-{len(MOVIE) - 1}/{len(MOVIE)}"
            visit.reply(206, MOVIE[first:][: next(cuts)], ETag='"v1"', Content_Range=span)

        self.chunked_at_first(site, some)

        assert self.fetch(site, tmp_path) == MOVIE
        assert [visit[2].get("Range") for visit in site.visits] == [
            None,
            f"bytes={self.HALF}-",
            f"bytes={self.HALF + 5}-",
        ]

    def test_a_rest_that_is_larger_than_allowed_is_refused_unread(self, site: Site, tmp_path: Path) -> None:
        def huge(visit: Visit) -> None:
            visit.reply(206, b"x", ETag='"v1"', Content_Range=f"bytes {self.HALF}-{10**12 - 1}/{10**12}")

        self.chunked_at_first(site, huge)

        with pytest.raises(InputTooLarge):
            self.fetch(site, tmp_path)
        assert len(site.visits) == 2

    def test_a_date_is_no_mark_of_a_version(self, site: Site, tmp_path: Path) -> None:
        """A file can be replaced by another of its size within the second that a date can tell."""
        date, changed, visits = "Sat, 28 Nov 2026 10:00:00 GMT", MOVIE[::-1], itertools.count()

        def page(visit: Visit) -> None:
            if next(visits) == 0:
                visit.reply(200, MOVIE[: self.HALF], Last_Modified=date, Content_Length=str(len(MOVIE)))
            elif "Range" in visit.headers:
                span = f"bytes {self.HALF}-{len(MOVIE) - 1}/{len(MOVIE)}"
                visit.reply(206, changed[self.HALF :], Last_Modified=date, Content_Range=span)
            else:
                visit.reply(200, changed, Last_Modified=date)

        site.pages["/movie.mp4"] = page

        assert self.fetch(site, tmp_path) == changed
        assert "If-Range" not in site.visits[1][2]

    @pytest.mark.parametrize("etag", [None, 'W/"v1"', "v1", '"v2"'])
    def test_a_rest_without_the_mark_of_its_version_is_not_taken(
        self, site: Site, tmp_path: Path, etag: str | None
    ) -> None:
        changed = MOVIE[::-1]

        def unmarked(visit: Visit) -> None:
            if "Range" not in visit.headers:
                visit.reply(200, changed)
                return
            span = f"bytes {self.HALF}-{len(MOVIE) - 1}/{len(MOVIE)}"
            marks = {} if etag is None else {"ETag": etag}
            visit.reply(206, changed[self.HALF :], Content_Range=span, **marks)

        self.breaks_once(site, unmarked)

        assert self.fetch(site, tmp_path) == changed

    def test_a_rest_that_nobody_asked_for_is_not_taken(self, site: Site, tmp_path: Path) -> None:
        self.breaks_once(site, self.rest_unasked, etag='W/"v1"')

        with pytest.raises(DownloadFailed, match="206"):
            self.fetch(site, tmp_path)

    def rest_unasked(self, visit: Visit) -> None:
        span = f"bytes {self.HALF}-{len(MOVIE) - 1}/{len(MOVIE)}"
        visit.reply(206, MOVIE[self.HALF :], Content_Range=span)

    @pytest.mark.parametrize("etag", ["v1", '"\xe9"', '"a b"', '"', '"v1" "v2"'])
    def test_a_mark_that_is_not_one_is_not_sent_back(self, site: Site, tmp_path: Path, etag: str) -> None:
        self.breaks_once(site, lambda visit: visit.reply(200, MOVIE), etag=etag)

        assert self.fetch(site, tmp_path) == MOVIE
        assert "If-Range" not in site.visits[1][2]

    def test_the_rest_comes_from_where_the_beginning_came_from(self, site: Site, tmp_path: Path) -> None:
        """Two mirrors may use the same mark for files that are not the same."""
        mirrors = itertools.count(1)
        site.pages["/start"] = lambda visit: visit.reply(302, Location=f"/mirror{next(mirrors)}?key=1")
        self.breaks_once(site, self.rest)
        site.pages["/mirror1"] = site.pages.pop("/movie.mp4")
        site.pages["/mirror2"] = lambda visit: visit.reply(500)

        download(site.url("/start"), tmp_path / "in", LIMITS, open_to(site))

        assert (tmp_path / "in").read_bytes() == MOVIE
        assert [visit[1] for visit in site.visits] == ["/start", "/mirror1?key=1", "/mirror1?key=1"]
        assert "Range" in site.visits[2][2]

    @pytest.mark.parametrize("then", ["expired", "moved"])
    def test_a_source_that_has_gone_is_looked_for_anew(self, site: Site, tmp_path: Path, then: str) -> None:
        mirrors = itertools.count(1)
        site.pages["/start"] = lambda visit: visit.reply(302, Location=f"/mirror{next(mirrors)}")
        self.breaks_once(
            site, lambda visit: visit.reply(403) if then == "expired" else visit.reply(302, Location="/mirror2")
        )
        site.pages["/mirror1"] = site.pages.pop("/movie.mp4")
        site.pages["/mirror2"] = lambda visit: visit.reply(200, MOVIE[::-1], ETag='"v1"')

        download(site.url("/start"), tmp_path / "in", LIMITS, open_to(site))

        assert (tmp_path / "in").read_bytes() == MOVIE[::-1]
        assert "Range" not in site.visits[-1][2]

    def test_a_range_nobody_asked_for_is_refused(self, site: Site, tmp_path: Path) -> None:
        site.pages["/movie.mp4"] = lambda visit: visit.reply(206, b"x", Content_Range="bytes 5-5/10")

        with pytest.raises(DownloadFailed):
            download(site.url("/movie.mp4"), tmp_path / "in", LIMITS, open_to(site))


class TestPosting:
    def test_the_body_arrives_as_it_is(self, site: Site) -> None:
        site.pages["/hook"] = lambda visit: visit.reply(204)

        answer = post_json(site.url("/hook"), b'{"a":1}', {"webhook-id": "m1"}, open_to(site))

        method, _, headers, body = site.visits[0]
        assert (answer.status, method, body) == (204, "POST", b'{"a":1}')
        assert (headers["webhook-id"], headers["Content-Type"]) == ("m1", "application/json")

    def test_a_redirect_is_an_answer_not_a_way(self, site: Site) -> None:
        site.pages["/hook"] = lambda visit: visit.reply(302, Location="/elsewhere")

        assert post_json(site.url("/hook"), b"{}", {}, open_to(site)).status == 302
        assert len(site.visits) == 1

    @pytest.mark.parametrize(("value", "seconds"), [("120", 120.0), ("soon", None), ("-1", None), ("9" * 40, None)])
    def test_the_wish_for_a_pause_is_read(self, site: Site, value: str, seconds: float | None) -> None:
        site.pages["/hook"] = lambda visit: visit.reply(429, Retry_After=value)

        assert post_json(site.url("/hook"), b"{}", {}, open_to(site)).retry_after_s == seconds

    def test_a_huge_reply_is_not_read(self, site: Site) -> None:
        site.pages["/hook"] = lambda visit: visit.start({"Content-Length": str(10**9)})
        started = time.monotonic()

        assert post_json(site.url("/hook"), b"{}", {}, open_to(site)).status == 200
        assert time.monotonic() - started < 2

    def test_silence_is_a_failure(self, site: Site) -> None:
        site.pages["/hook"] = lambda visit: time.sleep(1)

        with pytest.raises(PostFailed):
            post_json(site.url("/hook"), b"{}", {}, open_to(site), timeout_s=0.2)

    def test_private_receivers_are_blocked(self, site: Site) -> None:
        with pytest.raises(AddressBlocked):
            post_json(site.url("/hook"), b"{}", {}, FetchPolicy())

    def test_a_receiver_that_moves_to_a_private_address_is_blocked(self, site: Site) -> None:
        site.pages["/hook"] = lambda visit: visit.reply(500)
        policy = open_to(site, studio_example=[["127.0.0.1"], ["10.0.0.1"]])

        assert post_json(site.url("/hook", "studio.example"), b"{}", {}, policy).status == 500
        with pytest.raises(AddressBlocked):
            post_json(site.url("/hook", "studio.example"), b"{}", {}, policy)
        assert len(site.visits) == 1

    def test_proxies_from_the_environment_are_ignored(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        site.pages["/hook"] = lambda visit: visit.reply(204)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")

        assert post_json(site.url("/hook"), b"{}", {}, open_to(site)).status == 204
