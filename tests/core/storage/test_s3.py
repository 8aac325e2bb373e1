"""The storage in a bucket: what goes over the wire, the links, and troubles of the server by their right name."""

import hashlib
import itertools
import random
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StorageUnavailable, UploadIncomplete
from core.settings import Settings
from core.storage import Storage, make_storage
from core.storage.s3 import S3Storage
from core.storage.s3_parts import part_bytes_for, part_sizes
from tests.servers import MotoServer

KEY = "jobs/j1/attempt-1/result.mp4"


def open_bucket(settings: Settings) -> tuple[object, str]:
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    return client, urlsplit(settings.storage_url).netloc


def at(settings: Settings, server_url: str) -> Settings:
    return settings.model_copy(update={"s3_endpoint": server_url, "s3_public_endpoint": None})


def test_objects_lie_below_the_prefix_with_their_facts(s3: Storage, s3_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"a film")
    stored = s3.put_file(KEY, tmp_path / "source", "video/mp4")

    client, bucket = open_bucket(s3_settings)
    head = client.head_object(Bucket=bucket, Key=f"some/prefix/{KEY}")  # type: ignore[attr-defined]
    assert head["Metadata"] == {"sha256": stored.sha256}
    assert head["ContentType"] == "video/mp4"


def test_what_a_client_put_by_link_has_no_digest_until_it_is_fetched(
    s3: Storage, s3_settings: Settings, tmp_path: Path
) -> None:
    client, bucket = open_bucket(s3_settings)
    client.put_object(Bucket=bucket, Key="some/prefix/uploads/u1", Body=b"a voice")  # type: ignore[attr-defined]

    assert s3.stat("uploads/u1").sha256 is None
    assert s3.stat("uploads/u1").bytes == 7
    assert s3.fetch_file("uploads/u1", tmp_path / "fetched").sha256 is not None


def test_an_object_that_was_damaged_is_not_handed_out(s3: Storage, s3_settings: Settings, tmp_path: Path) -> None:
    client, bucket = open_bucket(s3_settings)
    client.put_object(  # type: ignore[attr-defined]
        Bucket=bucket, Key=f"some/prefix/{KEY}", Body=b"a firm", Metadata={"sha256": "0" * 64}
    )
    with pytest.raises(StorageUnavailable, match="damaged"):
        s3.fetch_file(KEY, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_download_link_is_for_clients(s3: Storage) -> None:
    """The host is the public one, the content is an attachment, and the link ends in time."""
    link = urlsplit(s3.download_url(KEY, 90, 'dub "ü".mp4'))
    query = parse_qs(link.query)

    assert (link.scheme, link.netloc) == ("https", "files.example.org")
    assert link.path.endswith(f"/some/prefix/{KEY}")
    assert query["response-content-disposition"] == ["attachment; filename*=UTF-8''dub%20%22%C3%BC%22.mp4"]
    assert query["X-Amz-Expires"] == ["90"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]


def test_links_work(s3_settings: Settings, tmp_path: Path) -> None:
    """Given a client that reaches the server by the same name as we do, it can put and get by link alone."""
    assert s3_settings.s3_endpoint is not None
    storage = make_storage(at(s3_settings, s3_settings.s3_endpoint))
    storage.prepare()

    target = storage.upload_url("uploads/u1", 60, max_bytes=100)
    headers = {"Content-Type": "application/octet-stream", **target.headers}  # urllib's default is that of a form
    request = urllib.request.Request(target.url, b"a voice", headers, method=target.method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 200
    with urllib.request.urlopen(storage.download_url("uploads/u1", 60, "voice.wav"), timeout=10) as reply:
        assert reply.read() == b"a voice"
        assert reply.headers["Content-Disposition"].startswith("attachment")


def put_by_link(url: str, content: bytes, headers: dict[str, str] | None = None) -> int:
    request = urllib.request.Request(url, content, {"Content-Type": "", **(headers or {})}, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_checksum_is_part_of_the_link(s3: Storage) -> None:
    """The client must send the header, because it is signed, and a server that knows it compares."""
    digest = hashlib.sha256(b"a voice").hexdigest()

    target = s3.upload_url("uploads/u1", 60, 100, digest)

    assert target.headers == {"x-amz-checksum-sha256": b64encode(bytes.fromhex(digest)).decode()}
    assert "x-amz-checksum-sha256" in parse_qs(urlsplit(target.url).query)["X-Amz-SignedHeaders"][0]


class TestParts:
    SIZE = 2 * 16 * 1024**2 + 5

    @pytest.fixture
    def reachable(self, s3_settings: Settings) -> S3Storage:
        assert s3_settings.s3_endpoint is not None
        storage = make_storage(at(s3_settings, s3_settings.s3_endpoint))
        assert isinstance(storage, S3Storage)
        storage.prepare()
        return storage

    def test_a_file_goes_up_in_parts_in_any_order(self, reachable: S3Storage, tmp_path: Path) -> None:
        content = random.Random(1).randbytes(self.SIZE)
        begun = reachable.parts.begin("uploads/u1", 60, self.SIZE)
        starts = itertools.accumulate((part.bytes for part in begun.parts), initial=0)
        pieces = [content[start : start + part.bytes] for start, part in zip(starts, begun.parts, strict=False)]
        for part, piece in reversed(list(zip(begun.parts, pieces, strict=True))):
            assert put_by_link(part.url, piece) == 200
        assert not reachable.exists("uploads/u1")

        for _ in range(2):
            reachable.parts.finish("uploads/u1", begun.token, self.SIZE, begun.part_bytes)

        assert reachable.fetch_file("uploads/u1", tmp_path / "in").sha256 == hashlib.sha256(content).hexdigest()

    def test_nothing_comes_of_missing_or_misshapen_parts(self, reachable: S3Storage) -> None:
        begun = reachable.parts.begin("uploads/u1", 60, self.SIZE)
        with pytest.raises(UploadIncomplete, match=r"3 of 3 .*: 1, 2, 3"):
            reachable.parts.finish("uploads/u1", begun.token, self.SIZE, begun.part_bytes)
        for part in begun.parts:
            put_by_link(part.url, bytes(min(part.bytes, 1000)))

        with pytest.raises(UploadIncomplete, match=r"2 of 3 .*: 1, 2"):
            reachable.parts.finish("uploads/u1", begun.token, self.SIZE, begun.part_bytes)

        assert not reachable.exists("uploads/u1")

    def test_what_was_aborted_cannot_be_finished(self, reachable: S3Storage) -> None:
        begun = reachable.parts.begin("uploads/u1", 60, self.SIZE)
        for _ in range(2):
            reachable.parts.abort("uploads/u1", begun.token)

        with pytest.raises(UploadIncomplete, match="aborted"):
            reachable.parts.finish("uploads/u1", begun.token, self.SIZE, begun.part_bytes)

    def test_only_what_nobody_wants_is_swept(self, reachable: S3Storage) -> None:
        for name in ("u1", "u2", "u3"):
            reachable.parts.begin(f"uploads/{name}", 60, self.SIZE)

        assert reachable.sweep_incomplete(lambda key: False, 100 * 365 * 86_400, 10) == 0  # moto has begun all in 2010
        assert reachable.sweep_incomplete(lambda key: key == "uploads/u2", -10, 1) == 1
        assert reachable.sweep_incomplete(lambda key: key == "uploads/u2", -10, 10) == 1
        assert reachable.sweep_incomplete(lambda key: False, -10, 10) == 1

    @given(size=st.integers(1, 8 * 1024**3))
    def test_parts_add_up_and_are_not_too_many(self, size: int) -> None:
        sizes = part_sizes(size, part_bytes_for(size))

        assert sum(sizes) == size
        assert len(sizes) <= 256
        assert all(part >= 5 * 1024**2 for part in sizes[:-1])  # less is not taken by S3, except at the end


def test_who_is_waited_for_does_not_wait_long(s3_settings: Settings, tmp_path: Path) -> None:
    with MotoServer(tmp_path / "moto") as server:
        storage = make_storage(at(s3_settings, server.url), hurried=True)
        storage.prepare()
        server.freeze()
        started = time.monotonic()

        with pytest.raises(StorageUnavailable):
            storage.stat(KEY)

        assert time.monotonic() - started < 8


def test_a_bucket_elsewhere_is_made_in_its_region(s3_settings: Settings) -> None:
    storage = make_storage(s3_settings.model_copy(update={"s3_region": "eu-central-1"}))
    storage.prepare()
    storage.check()


def test_without_its_bucket_the_storage_is_unavailable(s3_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="no bucket"):
        make_storage(s3_settings).check()


def test_a_server_that_is_down_is_unavailable_and_comes_back(s3_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"a film")
    with MotoServer(tmp_path / "moto") as server:
        storage = make_storage(at(s3_settings, server.url))
        storage.prepare()
        storage.put_file(KEY, tmp_path / "source", "video/mp4")
        server.kill()

        calls: list[Callable[[], object]] = [
            storage.check,
            lambda: storage.stat(KEY),
            lambda: storage.exists(KEY),
            lambda: storage.fetch_file(KEY, tmp_path / "fetched"),
            lambda: storage.put_file(KEY, tmp_path / "source", "video/mp4"),
            lambda: list(storage.list("jobs")),
            lambda: storage.delete_prefix("jobs"),
        ]
        for call in calls:
            with pytest.raises(StorageUnavailable):
                call()

        server.start()
        storage.prepare()
        storage.check()


def test_preparing_waits_for_a_server_that_starts(s3_settings: Settings, tmp_path: Path) -> None:
    server = MotoServer(tmp_path / "moto")
    storage = make_storage(at(s3_settings, server.url))
    assert isinstance(storage, S3Storage)
    pauses: list[float] = []

    def start_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        server.start()

    try:
        storage.prepare(timeout_s=60, sleep=start_meanwhile)
        assert len(pauses) == 1
    finally:
        server.kill()


def test_preparing_does_not_wait_for_ever(s3_settings: Settings, tmp_path: Path) -> None:
    storage = make_storage(at(s3_settings, MotoServer(tmp_path).url))
    assert isinstance(storage, S3Storage)
    with pytest.raises(StorageUnavailable):
        storage.prepare(timeout_s=0, sleep=lambda _: None)


def test_a_refusal_is_unavailable_not_absent(s3_settings: Settings) -> None:
    """Given a bucket whose name S3 does not take, the answer is an error of ours, not "no such object"."""
    with pytest.raises(StorageUnavailable):
        make_storage(s3_settings.model_copy(update={"storage_url": "s3://UPPER_case!"})).check()
