"""Objects in parts: S3's multipart uploads, with links for clients."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from core.errors import UploadIncomplete
from core.storage.protocol import MultipartTarget, ObjectNotFound, PartTarget, checked_key
from core.storage.s3_errors import s3_errors_translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import MultipartUploadTypeDef, PartTypeDef

_MIB = 1024**2
_LEAST_PART_BYTES = 16 * _MIB
_MOST_PARTS = 256
_NO_SUCH_UPLOAD = "NoSuchUpload"


def part_bytes_for(size: int) -> int:
    """Bytes of each part but the last: whole MiB, and such that there are not too many links to sign and to send."""
    return max(_LEAST_PART_BYTES, ceil(size / _MOST_PARTS / _MIB) * _MIB)


def part_sizes(size: int, part_bytes: int) -> tuple[int, ...]:
    """The sizes of all parts, in order."""
    return tuple(min(part_bytes, size - start) for start in range(0, size, part_bytes))


class S3Parts:
    """The PartsStorage of one bucket, below an optional prefix."""

    def __init__(
        self, client: "S3Client", joining_client: "S3Client", link_client: "S3Client", bucket: str, prefix: str
    ) -> None:
        self._client = client
        self._joining_client = joining_client
        self._link_client = link_client
        self._bucket = bucket
        self._prefix = prefix

    def begin(self, key: str, ttl_s: int, size: int) -> MultipartTarget:
        """See PartsStorage."""
        place, part_bytes = self._place(key), part_bytes_for(size)
        with s3_errors_translated(key):
            token = self._client.create_multipart_upload(Bucket=self._bucket, Key=place)["UploadId"]
            parts = tuple(
                PartTarget(number, self._part_url(place, token, number, ttl_s), part)
                for number, part in enumerate(part_sizes(size, part_bytes), start=1)
            )
        return MultipartTarget(token, part_bytes, parts)

    def finish(self, key: str, token: str, size: int, part_bytes: int) -> None:
        """See PartsStorage."""
        with s3_errors_translated(key):
            try:
                arrived = tuple(self._arrived(key, token))
            except ClientError as error:
                if error.response["Error"]["Code"] != _NO_SUCH_UPLOAD:
                    raise
                self._check_finished(key)
                return
            self._check_parts({part["PartNumber"]: part["Size"] for part in arrived}, part_sizes(size, part_bytes))
            self._joining_client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._place(key),
                UploadId=token,
                MultipartUpload={
                    "Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in arrived]
                },
            )

    def abort(self, key: str, token: str) -> None:
        """See PartsStorage."""
        with suppress(ObjectNotFound), s3_errors_translated(key):
            try:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._place(key), UploadId=token)
            except ClientError as error:
                if error.response["Error"]["Code"] != _NO_SUCH_UPLOAD:
                    raise

    def sweep(self, is_wanted: Callable[[str], bool], older_than_s: float, limit: int) -> int:
        """See Storage.sweep_incomplete."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        removed = 0
        for begun in self._begun():
            key = begun["Key"].removeprefix(self._prefix)
            if removed < limit and begun["Initiated"] < before and not is_wanted(key):
                self.abort(key, begun["UploadId"])
                removed += 1
        return removed

    def _part_url(self, place: str, token: str, number: int, ttl_s: int) -> str:
        parameters = {"Bucket": self._bucket, "Key": place, "UploadId": token, "PartNumber": number}
        return self._link_client.generate_presigned_url("upload_part", Params=parameters, ExpiresIn=ttl_s)

    def _arrived(self, key: str, token: str) -> Iterator["PartTypeDef"]:
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=self._place(key), UploadId=token
        )
        for page in pages:
            yield from page.get("Parts", [])

    def _begun(self) -> tuple["MultipartUploadTypeDef", ...]:
        with s3_errors_translated():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            return tuple(upload for page in pages for upload in page.get("Uploads", []))

    def _check_finished(self, key: str) -> None:
        """What is no longer in parts has been finished before, or else is gone."""
        try:
            with s3_errors_translated(key):
                self._client.head_object(Bucket=self._bucket, Key=self._place(key))
        except ObjectNotFound as error:
            raise UploadIncomplete("The parts are gone: this upload was aborted.") from error

    @staticmethod
    def _check_parts(arrived: dict[int, int], wanted: tuple[int, ...]) -> None:
        wrong = [number for number, size in enumerate(wanted, start=1) if arrived.get(number) != size]
        if wrong or len(arrived) > len(wanted):
            some = ", ".join(map(str, wrong[:10]))
            raise UploadIncomplete(f"{len(wrong)} of {len(wanted)} parts are missing or have another size: {some}.")

    def _place(self, key: str) -> str:
        return self._prefix + checked_key(key)
