"""Where files live: inputs, checkpoints and results. A local folder or any S3, one behaviour."""

from core.settings import Settings
from core.storage.links import Link, LinkSigner
from core.storage.local import LocalStorage
from core.storage.protocol import (
    MultipartTarget,
    ObjectDamaged,
    ObjectNotFound,
    PartsStorage,
    PartTarget,
    Storage,
    StoredObject,
    UploadTarget,
)
from core.storage.s3 import S3Storage

__all__ = [
    "Link",
    "LinkSigner",
    "LocalStorage",
    "MultipartTarget",
    "ObjectDamaged",
    "ObjectNotFound",
    "PartTarget",
    "PartsStorage",
    "S3Storage",
    "Storage",
    "StoredObject",
    "UploadTarget",
    "make_storage",
]


def make_storage(settings: Settings, *, hurried: bool = False) -> Storage:
    """
    The storage that `storage_url` names. Nothing is touched before its `prepare`.

    `hurried` is for those who are waited for: a server that does not answer within about two seconds is unavailable.
    """
    if settings.storage_url.startswith("s3://"):
        return S3Storage.from_settings(settings, hurried=hurried)
    return LocalStorage.from_settings(settings)
