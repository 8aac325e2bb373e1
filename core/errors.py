"""Every error a user can see, with its stable code. Everything else is a bug: 500 / internal_error."""

from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The machine-readable names. A code, once released, never changes its meaning."""

    # the request
    MALFORMED_JSON = "malformed_json"
    INVALID_REQUEST = "invalid_request"
    UNKNOWN_OPTION = "unknown_option"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TOO_LARGE = "request_too_large"
    MISSING_API_KEY = "missing_api_key"
    INVALID_API_KEY = "invalid_api_key"
    SCOPE_MISSING = "scope_missing"
    FOREIGN_PAGE = "foreign_page"
    RATE_LIMITED = "rate_limited"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IDEMPOTENCY_KEY_IN_USE = "idempotency_key_in_use"
    JOB_NOT_FOUND = "job_not_found"
    JOB_NOT_CANCELABLE = "job_not_cancelable"
    JOB_NOT_RETRYABLE = "job_not_retryable"
    INVALID_BATCH = "invalid_batch"
    BATCH_NOT_FOUND = "batch_not_found"
    TOO_MANY_QUEUED = "too_many_queued"
    TOO_MANY_FOLLOWERS = "too_many_followers"
    UPLOAD_NOT_FOUND = "upload_not_found"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    UPLOAD_IN_USE = "upload_in_use"
    UPLOAD_QUOTA_EXCEEDED = "upload_quota_exceeded"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    LINK_INVALID = "link_invalid"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    DELIVERY_NOT_FOUND = "delivery_not_found"
    INVALID_SEGMENTS = "invalid_segments"
    UNSUPPORTED_OUTPUT = "unsupported_output"
    UNSUPPORTED_URL = "unsupported_url"
    # fetching the inputs
    ADDRESS_BLOCKED = "address_blocked"
    DOWNLOAD_FAILED = "download_failed"
    DOWNLOAD_NOT_FOUND = "download_not_found"
    INPUT_TOO_LARGE = "input_too_large"
    # the inputs themselves
    NOT_MEDIA = "not_media"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_VIDEO_FRAMES = "no_video_frames"
    NO_AUDIO_STREAM = "no_audio_stream"
    AUDIO_TOO_SHORT = "audio_too_short"
    SILENT_AUDIO = "silent_audio"
    CORRUPT_MEDIA = "corrupt_media"
    MEDIA_TOO_LARGE = "media_too_large"
    MEDIA_TIMEOUT = "media_timeout"
    NO_FACE_FOUND = "no_face_found"
    FACE_TRACK_NOT_FOUND = "face_track_not_found"
    NO_FACE_AT_POINT = "no_face_at_point"
    SEGMENT_NOT_IN_VIDEO = "segment_not_in_video"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    # our side
    DEADLINE_EXCEEDED = "deadline_exceeded"
    WORKER_LOST = "worker_lost"
    GPU_OOM = "gpu_oom"
    GPU_FAILED = "gpu_failed"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    QUEUE_UNAVAILABLE = "queue_unavailable"
    INSUFFICIENT_SCRATCH = "insufficient_scratch"
    WEIGHTS_UNAVAILABLE = "weights_unavailable"
    SECRET_KEY_CHANGED = "secret_key_changed"  # noqa: S105
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """What an error code means: its HTTP status when a request meets it, and what the user can do."""

    http_status: int
    title: str
    hint: str
    retryable: bool = False


CATALOGUE: dict[ErrorCode, ErrorSpec] = {
    ErrorCode.MALFORMED_JSON: ErrorSpec(400, "Malformed JSON", "Send one JSON object, encoded as UTF-8."),
    ErrorCode.INVALID_REQUEST: ErrorSpec(422, "Invalid request", "See `errors` for the field and the reason."),
    ErrorCode.UNKNOWN_OPTION: ErrorSpec(
        422, "Unknown option", "Remove the field; the API reference at /docs lists all."
    ),
    ErrorCode.NOT_FOUND: ErrorSpec(404, "Not found", "Check the path against /docs."),
    ErrorCode.METHOD_NOT_ALLOWED: ErrorSpec(405, "Method not allowed", "The Allow header lists the methods."),
    ErrorCode.REQUEST_TOO_LARGE: ErrorSpec(413, "Request too large", "Send media through POST /uploads."),
    ErrorCode.MISSING_API_KEY: ErrorSpec(
        401,
        "API key missing",
        "Send `Authorization: Bearer hs_…`; the operator makes keys with `highsync keys create`.",
    ),
    ErrorCode.INVALID_API_KEY: ErrorSpec(
        401, "API key not valid", "Check that the key is whole; if it is, it was revoked: ask the operator for another."
    ),
    ErrorCode.SCOPE_MISSING: ErrorSpec(403, "Scope missing", "Use a key that has the scope which `detail` names."),
    ErrorCode.FOREIGN_PAGE: ErrorSpec(
        403,
        "Asked for by a foreign web page",
        "Without API keys the service is used by the host of HIGHSYNC_PUBLIC_URL, 127.0.0.1 or localhost, and by pages "
        "from there; the operator can make keys.",
    ),
    ErrorCode.RATE_LIMITED: ErrorSpec(
        429, "Too many requests", "Wait as long as Retry-After says, or ask the operator for a higher limit.", True
    ),
    ErrorCode.IDEMPOTENCY_KEY_REUSED: ErrorSpec(
        422, "Idempotency key reused", "Use a new Idempotency-Key for another request; the same one only to repeat it."
    ),
    ErrorCode.IDEMPOTENCY_KEY_IN_USE: ErrorSpec(
        409, "Idempotency key in use", "Repeat the request after Retry-After; it then gets the first answer.", True
    ),
    ErrorCode.JOB_NOT_FOUND: ErrorSpec(404, "Job not found", "Check the id; finished jobs disappear when purged."),
    ErrorCode.JOB_NOT_CANCELABLE: ErrorSpec(409, "Job not cancelable", "The job has just finished; read it again."),
    ErrorCode.JOB_NOT_RETRYABLE: ErrorSpec(
        409, "Job not retryable", "Retry a job that failed, was canceled or expired; post any other one anew."
    ),
    ErrorCode.INVALID_BATCH: ErrorSpec(
        422, "Invalid batch", "See `errors` for line, field and reason; nothing was made. ?dry_run=true only looks."
    ),
    ErrorCode.BATCH_NOT_FOUND: ErrorSpec(404, "Batch not found", "Check the id; a batch goes with its last job."),
    ErrorCode.TOO_MANY_QUEUED: ErrorSpec(
        429, "Too many queued jobs", "Post again when some of your waiting jobs have started.", True
    ),
    ErrorCode.TOO_MANY_FOLLOWERS: ErrorSpec(
        429,
        "Too many followers",
        "Ask again after Retry-After, look without `wait`, or end streams you need not.",
        True,
    ),
    ErrorCode.UPLOAD_NOT_FOUND: ErrorSpec(
        422, "Upload not found", "PUT the file to the address that POST /uploads gave, then post the job."
    ),
    ErrorCode.UPLOAD_INCOMPLETE: ErrorSpec(
        409, "Upload incomplete", "PUT the parts that are missing, then complete the upload again."
    ),
    ErrorCode.UPLOAD_IN_USE: ErrorSpec(409, "Upload in use", "It leaves with the last job that uses it; purge that."),
    ErrorCode.UPLOAD_QUOTA_EXCEEDED: ErrorSpec(
        413,
        "Upload quota exceeded",
        "Purge jobs, or delete uploads, that are no longer needed.",
    ),
    ErrorCode.CHECKSUM_MISMATCH: ErrorSpec(
        422, "Checksum mismatch", "The file is not the one whose sha256 was announced; upload it again."
    ),
    ErrorCode.LINK_INVALID: ErrorSpec(403, "Link invalid or expired", "Read the job again for a fresh link."),
    ErrorCode.RANGE_NOT_SATISFIABLE: ErrorSpec(
        416, "Range not satisfiable", "Ask for bytes=FIRST-LAST; Content-Range tells the size of the file."
    ),
    ErrorCode.DELIVERY_NOT_FOUND: ErrorSpec(
        404, "Delivery not found", "List the job's deliveries again; old ones are forgotten, and all with the job."
    ),
    ErrorCode.INVALID_SEGMENTS: ErrorSpec(
        422,
        "Invalid segments",
        "A segment ends after it starts and before the next one starts; sync_mode is cut_off or silence.",
    ),
    ErrorCode.UNSUPPORTED_OUTPUT: ErrorSpec(
        422,
        "Unsupported output",
        "mp4 takes h264, hevc; aac, flac. mov takes h264, hevc, prores; aac, pcm. prores has no quality.",
    ),
    ErrorCode.UNSUPPORTED_URL: ErrorSpec(422, "Unsupported URL", "Use http://, https:// or upload://."),
    ErrorCode.ADDRESS_BLOCKED: ErrorSpec(
        422, "Address blocked", "Use a public address, or ask the operator to add the host to HIGHSYNC_FETCH_ALLOW."
    ),
    ErrorCode.DOWNLOAD_FAILED: ErrorSpec(502, "Download failed", "Check that the URL answers, then retry.", True),
    ErrorCode.DOWNLOAD_NOT_FOUND: ErrorSpec(
        422, "Nothing at this URL", "The server answered with an error; check the URL."
    ),
    ErrorCode.INPUT_TOO_LARGE: ErrorSpec(
        413, "Input too large", "Send a smaller file, or raise HIGHSYNC_INPUT_MAX_BYTES."
    ),
    ErrorCode.NOT_MEDIA: ErrorSpec(
        422, "Not a media file", "Send mp4, mov, mkv, webm, avi or ts video; wav, mp3, flac, ogg or m4a audio."
    ),
    ErrorCode.NO_VIDEO_STREAM: ErrorSpec(422, "No video stream", "Send a file with a picture as video_url."),
    ErrorCode.NO_VIDEO_FRAMES: ErrorSpec(422, "No video frames", "The video is empty; export it again."),
    ErrorCode.NO_AUDIO_STREAM: ErrorSpec(422, "No audio stream", "Send a file with sound as audio_url."),
    ErrorCode.AUDIO_TOO_SHORT: ErrorSpec(422, "Audio too short", "Send at least 20 ms of voice."),
    ErrorCode.SILENT_AUDIO: ErrorSpec(422, "Silent audio", "Every sample is zero; export the voice again."),
    ErrorCode.CORRUPT_MEDIA: ErrorSpec(422, "Corrupt media", "The file cannot be decoded; export or upload it again."),
    ErrorCode.MEDIA_TOO_LARGE: ErrorSpec(422, "Media too large", "Send a smaller picture or a shorter clip."),
    ErrorCode.MEDIA_TIMEOUT: ErrorSpec(
        422,
        "Decoding stood still",
        "Export the file with a common codec (H.264, AAC), then post it again.",
    ),
    ErrorCode.NO_FACE_FOUND: ErrorSpec(422, "No face found", "Send a clip with one visible face at least 64 px high."),
    ErrorCode.FACE_TRACK_NOT_FOUND: ErrorSpec(
        422, "Face track not found", "Take a track id from the clip's own preflight report, or let `face` be auto."
    ),
    ErrorCode.NO_FACE_AT_POINT: ErrorSpec(
        422,
        "No face at this point",
        "Name a point inside a face, in pixels of the upright picture, at a time it shows.",
    ),
    ErrorCode.SEGMENT_NOT_IN_VIDEO: ErrorSpec(
        422,
        "Segment not in the video",
        "Let each segment end with the video or before, and hold a frame; a preflight tells the video's `duration_s`.",
    ),
    ErrorCode.ENCODER_UNAVAILABLE: ErrorSpec(
        422, "Encoder unavailable", "The worker's FFmpeg lacks this encoder; ask for another `output.codec`."
    ),
    ErrorCode.DEADLINE_EXCEEDED: ErrorSpec(
        504, "Deadline exceeded", "Retry with a later deadline_s or start_deadline_s.", True
    ),
    ErrorCode.WORKER_LOST: ErrorSpec(
        500, "Worker lost", "Three workers stopped while rendering; ask the operator.", True
    ),
    ErrorCode.GPU_OOM: ErrorSpec(500, "Out of device memory", "Retry on a larger GPU, or when it is free.", True),
    ErrorCode.GPU_FAILED: ErrorSpec(
        500, "GPU failed", "The job was tried again without success; ask the operator, then retry.", True
    ),
    ErrorCode.STORAGE_UNAVAILABLE: ErrorSpec(503, "Storage unavailable", "Retry in a while.", True),
    ErrorCode.QUEUE_UNAVAILABLE: ErrorSpec(503, "Queue unavailable", "Retry in a while.", True),
    ErrorCode.INSUFFICIENT_SCRATCH: ErrorSpec(
        507, "Scratch disk full", "The operator must free space in HIGHSYNC_SCRATCH_DIR; then retry.", True
    ),
    ErrorCode.WEIGHTS_UNAVAILABLE: ErrorSpec(
        500, "Weights unavailable", "The operator must fix HIGHSYNC_WEIGHTS.", True
    ),
    ErrorCode.SECRET_KEY_CHANGED: ErrorSpec(
        500, "Secret key changed", "The operator must restore HIGHSYNC_SECRET_KEY; or submit the job again.", True
    ),
    ErrorCode.INTERNAL_ERROR: ErrorSpec(500, "Internal error", "Report it with the request id.", True),
}


class HighSyncError(Exception):
    """An error a user can act on. `message` says what happened here, the catalogue says what to do about it."""

    code: ErrorCode = ErrorCode.INTERNAL_ERROR
    retry_after_s: float | None = None
    """When the same request is worth repeating, in seconds."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def spec(self) -> ErrorSpec:
        """The catalogue's entry for this error."""
        return CATALOGUE[self.code]


class IdempotencyKeyReused(HighSyncError):
    """The Idempotency-Key belongs to another request."""

    code = ErrorCode.IDEMPOTENCY_KEY_REUSED


class IdempotencyKeyInUse(HighSyncError):
    """The first request with this Idempotency-Key is not answered yet."""

    code = ErrorCode.IDEMPOTENCY_KEY_IN_USE
    retry_after_s = 1


class JobNotFound(HighSyncError):
    """No job has this id."""

    code = ErrorCode.JOB_NOT_FOUND


class JobNotCancelable(HighSyncError):
    """The job is over, and was not canceled."""

    code = ErrorCode.JOB_NOT_CANCELABLE


class JobNotRetryable(HighSyncError):
    """The job is not over, or it has succeeded."""

    code = ErrorCode.JOB_NOT_RETRYABLE


class MissingApiKey(HighSyncError):
    """The request says nothing about who sends it."""

    code = ErrorCode.MISSING_API_KEY


class InvalidApiKey(HighSyncError):
    """There is no such key, its secret is another one, or it has been revoked."""

    code = ErrorCode.INVALID_API_KEY


class ScopeMissing(HighSyncError):
    """The key does not permit this: it would need `scope`."""

    code = ErrorCode.SCOPE_MISSING

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class ForeignPage(HighSyncError):
    """A web page that is not the service's own has a browser ask, where no key shows that its user wants it."""

    code = ErrorCode.FOREIGN_PAGE


class RateLimited(HighSyncError):
    """The key's requests come faster than its limit. `retry_after_s` seconds from now the next one may pass."""

    code = ErrorCode.RATE_LIMITED

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InvalidBatch(HighSyncError):
    """Some lines of the batch are wrong, or there are none, or too many. Nothing was made."""

    code = ErrorCode.INVALID_BATCH


class BatchNotFound(HighSyncError):
    """No batch has this id."""

    code = ErrorCode.BATCH_NOT_FOUND


class TooManyQueued(HighSyncError):
    """As many jobs of this tenant wait as its limit allows."""

    code = ErrorCode.TOO_MANY_QUEUED


class TooManyFollowers(HighSyncError):
    """As many requests wait for jobs, of this tenant or in this process, as may."""

    code = ErrorCode.TOO_MANY_FOLLOWERS
    retry_after_s = 10


class UploadNotFound(HighSyncError):
    """No upload has this id, or no file was PUT for it."""

    code = ErrorCode.UPLOAD_NOT_FOUND


class UploadIncomplete(HighSyncError):
    """Parts of the upload are missing, or have another size than was asked for."""

    code = ErrorCode.UPLOAD_INCOMPLETE


class UploadInUse(HighSyncError):
    """A job uses the upload, so it cannot be deleted."""

    code = ErrorCode.UPLOAD_IN_USE


class UploadQuotaExceeded(HighSyncError):
    """The tenant's uploads would take more room than they may."""

    code = ErrorCode.UPLOAD_QUOTA_EXCEEDED


class ChecksumMismatch(HighSyncError):
    """The file that arrived is not the one that was announced."""

    code = ErrorCode.CHECKSUM_MISMATCH


class NotMedia(HighSyncError):
    """The first bytes show that the file is neither video nor audio."""

    code = ErrorCode.NOT_MEDIA


class LinkInvalid(HighSyncError):
    """A signed link is expired, or its signature does not match."""

    code = ErrorCode.LINK_INVALID


class DeliveryNotFound(HighSyncError):
    """No delivery has this id, or it is forgotten."""

    code = ErrorCode.DELIVERY_NOT_FOUND


class UnsupportedUrl(HighSyncError):
    """The URL's scheme is not one we fetch, or it cannot be parsed."""

    code = ErrorCode.UNSUPPORTED_URL


class AddressBlocked(HighSyncError):
    """The URL leads to an address inside the operator's own network."""

    code = ErrorCode.ADDRESS_BLOCKED


class DownloadFailed(HighSyncError):
    """The other side did not deliver the file."""

    code = ErrorCode.DOWNLOAD_FAILED


class DownloadNotFound(HighSyncError):
    """The other side answered with a client error: there is no such file."""

    code = ErrorCode.DOWNLOAD_NOT_FOUND


class InputTooLarge(HighSyncError):
    """An input is larger than the limit."""

    code = ErrorCode.INPUT_TOO_LARGE


class StorageUnavailable(HighSyncError):
    """The storage does not answer, is full, or refuses our credentials."""

    code = ErrorCode.STORAGE_UNAVAILABLE


class QueueUnavailable(HighSyncError):
    """Redis does not answer or takes no more writes."""

    code = ErrorCode.QUEUE_UNAVAILABLE


class InsufficientScratch(HighSyncError):
    """The disk for temporary files is full."""

    code = ErrorCode.INSUFFICIENT_SCRATCH


class SecretKeyChanged(HighSyncError):
    """What was sealed with one HIGHSYNC_SECRET_KEY is to be opened with another."""

    code = ErrorCode.SECRET_KEY_CHANGED
