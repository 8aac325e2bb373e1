"""Storage in any S3: path-style addresses, checksums of our own, a second endpoint for clients' links."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from core.errors import StorageUnavailable
from core.metrics import measured
from core.settings import Settings
from core.storage.protocol import (
    CHUNK_BYTES,
    ObjectNotFound,
    OnChunk,
    StoredObject,
    UploadTarget,
    checked_key,
    go_on,
    sha256_of,
    write_verified,
)
from core.storage.s3_errors import s3_errors_translated
from core.storage.s3_parts import S3Parts

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import BucketLocationConstraintType
    from mypy_boto3_s3.type_defs import CreateBucketConfigurationTypeDef

_PART_BYTES = 16 * 1024**2
_CHECKSUM = "x-amz-checksum-sha256"
_NO_SUCH_RANGE = "InvalidRange"
_LAST_IN_FOLDER = "/~"  # behind every key of ours in a folder, and before whatever follows the folder

# `when_required`: newer checksum trailers are refused or corrupted by several S3 look-alikes.
_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_PATIENT = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})
_HURRIED = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1})
_TRANSFER = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)


class S3Storage:
    """
    Objects in one bucket, below an optional prefix, each with its sha256 as metadata.

    `client` talks to the server, `joining_client` waits while it makes one object of many parts; `link_client` only
    signs links, because the host is part of the signature and clients may know the server under another name.
    """

    def __init__(
        self, client: "S3Client", joining_client: "S3Client", link_client: "S3Client", bucket: str, prefix: str = ""
    ) -> None:
        self.parts = S3Parts(client, joining_client, link_client, bucket, prefix)
        self._client = client
        self._link_client = link_client
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def from_settings(cls, settings: Settings, *, hurried: bool = False) -> "S3Storage":
        """The bucket of `storage_url` (s3://bucket[/prefix]) at its endpoints. `hurried`: see make_storage."""
        place = urlsplit(settings.storage_url)
        prefix = place.path.strip("/")
        timing = _HURRIED if hurried else _PATIENT
        return cls(
            client=_make_client(settings, settings.s3_endpoint, timing),
            joining_client=_make_client(settings, settings.s3_endpoint, _PATIENT),
            link_client=_make_client(settings, settings.s3_public_endpoint or settings.s3_endpoint, timing),
            bucket=place.netloc,
            prefix=f"{checked_key(prefix)}/" if prefix else "",
        )

    def prepare(self, timeout_s: float = 30.0, sleep: Callable[[float], None] = time.sleep) -> None:
        """See Storage. When two processes create the bucket at once, the later one finds it at its next look."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self._make_bucket()
            except StorageUnavailable:
                if time.monotonic() > deadline:
                    raise
                sleep(1.0)

    def check(self) -> None:
        """See Storage."""
        if not self._bucket_exists():
            raise StorageUnavailable(f"S3: there is no bucket {self._bucket}.")

    @measured("put")
    def put_file(self, key: str, path: Path, content_type: str, on_chunk: OnChunk = go_on) -> StoredObject:
        """See Storage. Large files go up in parts, streamed from the disk."""
        sent = StoredObject(key, path.stat().st_size, sha256_of(path, on_chunk))
        with s3_errors_translated(key):
            self._client.upload_file(
                Filename=str(path),
                Bucket=self._bucket,
                Key=self._place(key),
                ExtraArgs={"ContentType": content_type, "Metadata": {"sha256": sent.sha256}},
                Config=_TRANSFER,
                Callback=lambda _bytes: on_chunk(),
            )
        arrived = self.stat(key)
        if arrived != sent:
            raise StorageUnavailable(f"S3: {key} did not arrive whole: {arrived.bytes} of {sent.bytes} bytes.")
        return arrived

    @measured("fetch")
    def fetch_file(self, key: str, path: Path, on_chunk: OnChunk = go_on) -> StoredObject:
        """See Storage."""
        return write_verified(self.open_stream(key), self.stat(key), path, on_chunk)

    def open_stream(self, key: str) -> Iterator[bytes]:
        """See Storage."""
        with s3_errors_translated(key):
            body = self._client.get_object(Bucket=self._bucket, Key=self._place(key))["Body"]
        with closing(body):
            while chunk := self._read(body):
                yield chunk

    @staticmethod
    def _read(body: "StreamingBody") -> bytes:
        with s3_errors_translated():
            return body.read(CHUNK_BYTES)

    def stat(self, key: str) -> StoredObject:
        """See Storage."""
        with s3_errors_translated(key):
            head = self._client.head_object(Bucket=self._bucket, Key=self._place(key))
        return StoredObject(key, head["ContentLength"], head["Metadata"].get("sha256"))

    def exists(self, key: str) -> bool:
        """See Storage."""
        try:
            self.stat(key)
        except ObjectNotFound:
            return False
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """See Storage."""
        with s3_errors_translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._place(prefix)}/"
            )
            for page in pages:
                for item in page.get("Contents", []):
                    yield item["Key"].removeprefix(self._prefix)

    @measured("delete")
    def delete_prefix(self, prefix: str) -> None:
        """See Storage."""
        for key in (prefix, *self.list(prefix)):
            with s3_errors_translated(key):
                self._client.delete_object(Bucket=self._bucket, Key=self._place(key))

    def download_url(self, key: str, ttl_s: int, filename: str) -> str:
        """See Storage. Always an attachment: nothing is ever shown as a page of the bucket's own site."""
        disposition = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        parameters = {
            "Bucket": self._bucket,
            "Key": self._place(key),
            "ResponseContentDisposition": disposition,
        }
        with s3_errors_translated(key):
            return self._link_client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=ttl_s)

    def upload_url(self, key: str, ttl_s: int, max_bytes: int, sha256: str | None = None) -> UploadTarget:
        """See Storage. The checksum is a signed header, so the client must send it, and the server compares."""
        parameters = {"Bucket": self._bucket, "Key": self._place(key)}
        headers = {}
        if sha256 is not None:
            parameters["ChecksumSHA256"] = headers[_CHECKSUM] = b64encode(bytes.fromhex(sha256)).decode()
        with s3_errors_translated(key):
            url = self._link_client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=ttl_s)
        return UploadTarget(url, headers=headers)

    def read_start(self, key: str, length: int) -> bytes:
        """See Storage."""
        with s3_errors_translated(key):
            try:
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=self._place(key), Range=f"bytes=0-{length - 1}"
                )
            except ClientError as error:
                if error.response["Error"]["Code"] == _NO_SUCH_RANGE:  # an empty object has no first byte
                    return b""
                raise
            with closing(answer["Body"]) as body:
                return body.read(length)

    def children(self, folder: str, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """See Storage."""
        here = f"{self._place(folder)}/"
        with s3_errors_translated(folder):
            page = self._client.list_objects_v2(
                Bucket=self._bucket,
                Prefix=here,
                Delimiter="/",
                StartAfter=f"{here}{after}{_LAST_IN_FOLDER}" if after else here,
                MaxKeys=min(limit, 1000),
            )
        keys = [item["Key"] for item in page.get("Contents", [])]
        keys += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        names = sorted({key.removeprefix(here).removesuffix("/") for key in keys})
        return tuple(name for name in names if name > after)

    def sweep_incomplete(self, is_wanted: Callable[[str], bool], older_than_s: float, limit: int) -> int:
        """See Storage."""
        return self.parts.sweep(is_wanted, older_than_s, limit)

    def _place(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _make_bucket(self) -> None:
        if self._bucket_exists():
            return
        region = self._client.meta.region_name
        with s3_errors_translated():
            if region == "us-east-1":  # the one region that must not be named
                self._client.create_bucket(Bucket=self._bucket)
            else:
                place: CreateBucketConfigurationTypeDef = {
                    "LocationConstraint": cast("BucketLocationConstraintType", region)
                }
                self._client.create_bucket(Bucket=self._bucket, CreateBucketConfiguration=place)

    def _bucket_exists(self) -> bool:
        try:
            with s3_errors_translated(self._bucket):
                self._client.head_bucket(Bucket=self._bucket)
        except ObjectNotFound:
            return False
        return True


def _make_client(settings: Settings, endpoint: str | None, timing: Config) -> "S3Client":
    secret = settings.s3_secret_key
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=_CONFIG.merge(timing),
    )
