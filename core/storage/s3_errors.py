"""The one place where boto's exceptions get a meaning of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import StorageUnavailable
from core.storage.protocol import ObjectNotFound

_NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound"})


@contextmanager
def s3_errors_translated(key: str = "") -> Iterator[None]:
    """Raise ObjectNotFound or StorageUnavailable for whatever the server or the way to it may suffer."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in _NOT_FOUND:
            raise ObjectNotFound(key) from error
        raise StorageUnavailable(f"S3: {error}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise StorageUnavailable(f"S3: {error}") from error
