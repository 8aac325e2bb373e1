"""Uploads as the inputs of jobs: looked at before a job is accepted, and held for it."""

from core.api_keys import limits_of
from core.errors import ChecksumMismatch, InputTooLarge, UploadNotFound, UploadQuotaExceeded
from core.jobs import Job
from core.sniff import SNIFF_BYTES, refuse_non_media
from core.storage import ObjectNotFound
from core.storage.protocol import sha256_of_chunks
from core.uploads import Upload, UploadId, UploadState, upload_id_of, uploads_of
from service.services import Services


def find_upload(upload_id: UploadId, tenant: str, services: Services) -> Upload:
    """The tenant's upload, with its file noted if that has come. UploadNotFound, also for somebody else's."""
    upload = _upload_of(tenant, upload_id, services)
    return upload if upload.state is UploadState.READY else note_arrival(upload, services)


def _upload_of(tenant: str, upload_id: UploadId, services: Services) -> Upload:
    upload = services.uploads.get(upload_id)
    if upload.tenant != tenant:
        raise UploadNotFound("There is no upload with this id.")
    return upload


def quota_of(tenant: str, services: Services) -> int:
    """Most bytes that the tenant's uploads may have together, by its keys or else for anybody; 0: no limit."""
    return limits_of(tenant, services.keys).storage_bytes or services.settings.uploads_max_bytes


def note_arrival(upload: Upload, services: Services) -> Upload:
    """
    A bucket tells nobody that a client has put a file, so we look. The file goes if it is more than it may be.

    One made of parts, with a sha256 announced, has not arrived before `note_joined` has read it.
    """
    unread = upload.state is UploadState.WAITING and upload.multipart is not None and upload.sha256 is not None
    return upload if unread else _note_file(upload, services)


def note_joined(upload: Upload, services: Services) -> Upload:
    """
    Read the file that was made of the parts, once, if its sha256 was announced: a bucket compares none over parts.

    Raises ChecksumMismatch for another file, which goes.
    """
    if upload.sha256 is not None:
        sha256 = sha256_of_chunks(services.storage.open_stream(upload.key))
        if sha256 != upload.sha256:
            services.storage.delete_prefix(upload.key)
            raise ChecksumMismatch(f"The file has the sha256 {sha256}, and {upload.sha256} was announced.")
    return _note_file(upload, services)


def _note_file(upload: Upload, services: Services) -> Upload:
    try:
        size = services.storage.stat(upload.key).bytes
    except ObjectNotFound:
        return upload
    try:
        if size > upload.max_bytes:
            raise InputTooLarge(f"The file has {size} bytes, and {upload.max_bytes} are allowed.")
        return services.uploads.receive(upload.id, size, quota_of(upload.tenant, services))
    except (InputTooLarge, UploadNotFound, UploadQuotaExceeded):
        services.storage.delete_prefix(upload.key)
        raise


def check_upload(url: str, tenant: str, services: Services) -> Upload:
    """
    The upload that a job of this tenant wants as an input, if it can be one. Its file is looked at once more: while
    the link is good, another one can be put in its place.

    Raises UnsupportedUrl, UploadNotFound, InputTooLarge, UploadQuotaExceeded, NotMedia.
    """
    upload = note_arrival(_upload_of(tenant, upload_id_of(url), services), services)
    if upload.state is not UploadState.READY:
        raise UploadNotFound("No file was PUT for this id.")
    try:
        refuse_non_media(services.storage.read_start(upload.key, SNIFF_BYTES))
    except ObjectNotFound as error:
        raise UploadNotFound("The file of this upload is gone.") from error
    return upload


def hold_inputs(job: Job, services: Services) -> Job:
    """
    Keep the uploads of a job that is about to be created, and note in it which files they must be. A hold whose job
    is not created after all is found by the janitor. Raises UploadNotFound when one has left meanwhile.
    """
    announced = {}
    for upload_id in uploads_of(job):
        services.uploads.hold(upload_id, job.id)
        upload = services.uploads.get(upload_id)
        if upload.sha256 is not None:
            announced[upload.url] = upload.sha256
    return job.model_copy(update={"input_sha256": announced})


def let_inputs_go(job: Job, services: Services) -> None:
    """The job was refused: its uploads are there for the next one, as long as new ones are."""
    for upload_id in uploads_of(job):
        services.uploads.let_go(upload_id, job.id, services.settings.upload_ttl_s)
