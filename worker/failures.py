"""From exception to the failure a user reads. The one table; a test proves that it is complete."""

import errno
from dataclasses import dataclass

from core.errors import ErrorCode, HighSyncError
from core.jobs import JobFailure
from model import errors as model_errors
from model.errors import ModelError

FAILURES: dict[type[Exception], ErrorCode] = {
    model_errors.NotMedia: ErrorCode.NOT_MEDIA,
    model_errors.NoVideoStream: ErrorCode.NO_VIDEO_STREAM,
    model_errors.NoVideoFrames: ErrorCode.NO_VIDEO_FRAMES,
    model_errors.NoAudioStream: ErrorCode.NO_AUDIO_STREAM,
    model_errors.AudioTooShort: ErrorCode.AUDIO_TOO_SHORT,
    model_errors.SilentAudio: ErrorCode.SILENT_AUDIO,
    model_errors.CorruptMedia: ErrorCode.CORRUPT_MEDIA,
    model_errors.MediaTooLarge: ErrorCode.MEDIA_TOO_LARGE,
    model_errors.MediaTimeout: ErrorCode.MEDIA_TIMEOUT,
    model_errors.NoFaceFound: ErrorCode.NO_FACE_FOUND,
    model_errors.FaceTrackNotFound: ErrorCode.FACE_TRACK_NOT_FOUND,
    model_errors.NoFaceAtPoint: ErrorCode.NO_FACE_AT_POINT,
    model_errors.SegmentNotInVideo: ErrorCode.SEGMENT_NOT_IN_VIDEO,
    model_errors.WeightsError: ErrorCode.WEIGHTS_UNAVAILABLE,
    model_errors.DetectorError: ErrorCode.WEIGHTS_UNAVAILABLE,
    model_errors.EncoderUnavailable: ErrorCode.ENCODER_UNAVAILABLE,
    model_errors.DeviceOutOfMemory: ErrorCode.GPU_OOM,
    model_errors.DeviceFailed: ErrorCode.GPU_FAILED,
}
"""What each error of the model library means to a user. An error of `core` carries its code itself."""

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room at all, no room for this user, no room for a file of this size."""

WORTH_ANOTHER_ATTEMPT = frozenset(
    {
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.QUEUE_UNAVAILABLE,
        ErrorCode.INSUFFICIENT_SCRATCH,
        ErrorCode.GPU_FAILED,
    }
)
"""Faults of the house, not of the job: the job goes back to the queue, as long as it has attempts left."""

UNEXPECTED = "The render stopped because of a fault in the service; the operator's log has the details."


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt: what to tell the user, and what to do about it.

    `start_afresh`: nothing that follows in this process can be trusted.
    """

    report: JobFailure
    attempt_again: bool
    is_bug: bool
    start_afresh: bool


def describe(error: Exception) -> Failure:
    """Translate any exception of a render. An unknown one is a bug: it says nothing of its insides to the user."""
    code = error_code(error)
    is_bug = code is ErrorCode.INTERNAL_ERROR
    message = str(error) if isinstance(error, HighSyncError | ModelError) else UNEXPECTED
    return Failure(
        report=JobFailure.of(code, message),
        attempt_again=code in WORTH_ANOTHER_ATTEMPT,
        is_bug=is_bug,
        start_afresh=is_bug or code is ErrorCode.GPU_FAILED,
    )


def error_code(error: Exception) -> ErrorCode:
    """The public code of an exception; that of the nearest class in the table."""
    if isinstance(error, HighSyncError):
        return error.code
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return ErrorCode.INSUFFICIENT_SCRATCH
    return next((FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES), ErrorCode.INTERNAL_ERROR)
